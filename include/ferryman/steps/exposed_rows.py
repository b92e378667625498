"""The logged answers of an operation's exposure: which span, which rows, in which arm.

The log is by event time, an exposure by when answers were given: files tell in their names when
they were logged. Only rows that chance gave to one arm or the other count as a trial's: those that
were logged while the operation held a share, and whose propensity says that it was drawn.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ferryman.errors import DependencyUnavailable, LostRace
from ferryman.ledger.ledger import Ledger
from ferryman.ledger.records import TRAFFIC, Note, Op, State
from ferryman.monitoring.labels import SHADOW
from ferryman.runtime.object_store import ObjectStore
from ferryman.serving.log.prediction_log import own_fields, read_predictions, stamp_of
from ferryman.serving.models.labels import CHAMPION, FALLBACK
from ferryman.spec.model import ModelSpec
from ferryman.spec.windows import DAY, day_window

_ENDS = frozenset({State.COMMITTED, State.ABORTED, State.SUPERSEDED, State.FAILED})
_COLUMNS = (
    "request_id",
    "entity_key",
    "event_time",
    "version",
    "epoch",
    "variant",
    "propensity",
    "score",
    "logged_at",
)


@dataclass(frozen=True)
class ExposureSpans:
    """When an operation's candidate met requests beside one champion.

    variant: canary, challenger or shadow; epoch: that of the champion; spans: half-open, in order.
    """

    variant: str
    version: int
    epoch: int
    spans: tuple[tuple[datetime, datetime], ...]

    @property
    def paired(self) -> bool:
        """Whether both answered the same requests."""
        return self.variant == SHADOW


def exposure_of(ledger: Ledger, op: Op) -> ExposureSpans | None:
    """The exposure of an operation at its base epoch, up to now; None where there was none.

    A share stands from its note to the model's next one, or to the operation's end.
    """
    ends = [past for past in ledger.history(op.model) if past.op_id == op.op_id]
    ends = [past for past in ends if past.state in _ENDS and past.base_epoch == op.base_epoch]
    notes, now = ledger.notes(op.model, TRAFFIC), datetime.now(UTC)
    spans = []
    for place, note in enumerate(notes):
        if not _is_of(note, op) or not note.evidence["weight"] > 0:
            continue
        later = [next_note.at for next_note in notes[place + 1 : place + 2]]
        later += [end.at for end in ends if end.seq > note.seq]
        span = (note.at, min([*later, now]))
        if span[0] < span[1]:
            spans.append((span, str(note.evidence["variant"])))
    if not spans:
        return None
    return ExposureSpans(
        variant=spans[-1][1],
        version=op.candidate.version,
        epoch=op.base_epoch,
        spans=tuple(span for span, _ in spans),
    )


def exposed_rows(places: Sequence[ObjectStore], spec: ModelSpec, exposure: ExposureSpans) -> Any:
    """The rows that were logged during an exposure; a pyarrow Table of a few own columns.

    Raises DependencyUnavailable (exit 6) where a place of the log is away, or its files are merged
    while they are read: that is no lost race of the release. Rows that are older than the column
    `propensity`, and so than every exposure, have null there.
    """
    start, end = exposure.spans[0][0], exposure.spans[-1][1]
    task, classes = spec.train.task, spec.train.classes
    wanted = {field.name: field for field in own_fields(task, classes)}
    tables = [pa.schema([wanted[name] for name in _COLUMNS]).empty_table()]
    for first, last in _runs(_event_days(places, spec.name, start, end)):
        try:
            found = read_predictions(
                places, spec.name, first, last, task=task, classes=classes, columns=_COLUMNS
            )
        except LostRace as error:
            raise DependencyUnavailable(error.text, remedy="Look again in a minute.") from error
        tables.append(found)
    rows = pa.concat_tables(tables, promote_options="permissive")
    inside = pa.array([False] * rows.num_rows, pa.bool_())
    for first, last in exposure.spans:
        inside = pc.or_(inside, _between(rows["logged_at"], first, last))
    return rows.filter(inside)


def drawn_rows(rows: Any, exposure: ExposureSpans) -> tuple[Any, Any]:
    """The champion's rows and the candidate's, of requests that were drawn for one of them.

    Beside a shadow: of all requests, for both were asked.
    """
    of_champion = pc.and_(_is(rows, "variant", CHAMPION), _is(rows, "epoch", exposure.epoch))
    of_candidate = pc.and_(
        _is(rows, "variant", exposure.variant), _is(rows, "version", exposure.version)
    )
    if not exposure.paired:
        chance = pc.fill_null(rows["propensity"], 1.0)
        drawn = pc.and_(pc.greater(chance, 0.0), pc.less(chance, 1.0))
        of_champion, of_candidate = pc.and_(of_champion, drawn), pc.and_(of_candidate, drawn)
    return rows.filter(of_champion), rows.filter(of_candidate)


def fallback_rows(rows: Any) -> Any:
    """The rows that the champion answered because the candidate failed at them."""
    return rows.filter(_is(rows, "variant", FALLBACK))


def _is_of(note: Note, op: Op) -> bool:
    told = note.evidence
    return bool(told.get("op") == op.op_id and told.get("base_epoch") == op.base_epoch)


def _is(rows: Any, column: str, value: str | int) -> Any:
    return pc.fill_null(pc.equal(rows[column], value), False)


def _between(column: Any, start: datetime, end: datetime) -> Any:
    kind = pa.timestamp("us", tz="UTC")
    after = pc.greater_equal(column, pa.scalar(start, kind))
    return pc.fill_null(pc.and_(after, pc.less(column, pa.scalar(end, kind))), False)


def _event_days(
    places: Sequence[ObjectStore], model: str, start: datetime, end: datetime
) -> list[date]:
    """The days of events of the files that may hold rows logged in a span.

    A file holds rows that were logged on one day, and its name tells one moment of it.
    """
    first, last = day_window(start).start, end + DAY
    days = set()
    for key in (key for place in places for key in place.keys(model)):
        day = key.partition("/date=")[2].partition("/")[0]
        if not day or not key.endswith(".parquet"):
            continue
        stamp = stamp_of(key)
        if stamp is None or first.timestamp() <= stamp / 10**9 <= last.timestamp():
            days.add(date.fromisoformat(day))
    return sorted(days)


def _runs(days: Sequence[date]) -> list[tuple[datetime, datetime]]:
    """Days without gaps as spans: one event of long ago does not have all between read."""
    runs: list[tuple[datetime, datetime]] = []
    for day in days:
        start = datetime(day.year, day.month, day.day, tzinfo=UTC)
        if runs and runs[-1][1] == start:
            runs[-1] = (runs[-1][0], start + timedelta(days=1))
        else:
            runs.append((start, start + timedelta(days=1)))
    return runs
