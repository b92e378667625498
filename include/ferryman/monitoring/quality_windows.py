"""Keeps what was known of each event day's quality, night by night, as its labels matured.

<root>/<model>/events/<event day>/<window>.json: what was known of that day when the window ended.
A file is written only where something changed, so the files of a day are its revisions, oldest
first, and the last of them is what is known. Each is written whole, under a name that its window
gives: a night that is run again restates its own revision and no other.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ferryman.errors import IntegrityBroken
from ferryman.runtime.files import read_json, write_json
from ferryman.spec.windows import Window, format_time


@dataclass(frozen=True)
class EventDay:
    """What was known of one day's answers at a moment.

    day: of the events, UTC; known: the end of the window whose night said this; predicted,
    labelled: events, everybody's answers; settled: events whose label is known, or known never to
    come; coverage = labelled / predicted; value, low, high: the metric and its interval, None with
    the reason in `text`; estimate: of the metric, made before labels came; rows: names the joined
    rows that all this was made of.
    """

    day: str
    known: str
    metric: str
    predicted: int
    labelled: int
    settled: int
    coverage: float | None
    value: float | None
    low: float | None
    high: float | None
    estimate: float | None
    text: str
    rows: str

    @property
    def complete(self) -> bool:
        """Whether every event that was predicted is settled."""
        return 0 < self.predicted <= self.settled

    def as_json(self) -> dict[str, Any]:
        """All of it as plain JSON."""
        return asdict(self)

    def says_as(self, other: "EventDay") -> bool:
        """Whether both say the same, whenever they were made."""
        return replace(self, known=other.known) == other


@dataclass(frozen=True)
class Revisions:
    """All that was said of an event day up to a moment, oldest first; at least one."""

    said: Sequence[EventDay]
    mature: bool

    def as_json(self) -> dict[str, Any]:
        """The last revision, how many there are, and how the figure moved."""
        last = self.said[-1]
        kept = {key: value for key, value in last.as_json().items() if key != "rows"}
        moved = [
            {"known": one.known, "coverage": one.coverage, "value": one.value} for one in self.said
        ]
        return {**kept, "mature": self.mature, "revision": len(self.said), "revisions": moved}


class EventDays:
    """The event days of all models below one folder."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def write(self, model: str, window: Window, day: EventDay) -> None:
        """Keep what a window's night says of a day; nothing where it was said before.

        What the same night said of it earlier is replaced.
        """
        folder = self._folder(model, day.day)
        own = folder / f"{window.key}.json"
        before = [one for file, one in _read_all(folder) if file.stem < window.key]
        if before and before[-1].says_as(day):
            own.unlink(missing_ok=True)
        else:
            write_json(own, day.as_json())

    def said(self, model: str, day: str, until: datetime) -> list[EventDay]:
        """What was said of a day by the nights up to a moment, oldest first.

        IntegrityBroken (exit 7) names a file that is damaged.
        """
        found = self.all_said(model, day)
        return [one for one in found if datetime.fromisoformat(one.known) <= until]

    def all_said(self, model: str, day: str) -> list[EventDay]:
        """What was said of a day by every night, oldest first; IntegrityBroken as in `said`."""
        return [one for _, one in _read_all(self._folder(model, day))]

    def days(self, model: str) -> list[str]:
        """Every day of which something was said, oldest first."""
        return sorted(folder.name for folder in (self._root / model / "events").glob("*-*-*"))

    def _folder(self, model: str, day: str) -> Path:
        return self._root / model / "events" / day


def event_days(window: Window, matures: timedelta) -> list[Window]:
    """The days whose labels may still have come during a window, and the window's own.

    Oldest first. The day that became too old during the window is among them: what came for it on
    its last day still counts.
    """
    first = window.start - matures
    start = first.replace(hour=0, minute=0, second=0, microsecond=0)
    return list(Window(start=start, end=window.end).days())


def is_mature(day: Window, said: EventDay, now: datetime, matures: timedelta) -> bool:
    """Whether a day's figure is final: its time is over, or every label is there."""
    return day.end + matures <= now or said.complete


def rows_of(table: Any, day: Window) -> Any:
    """The rows of a joined table whose event lies in a day."""
    kind = pa.timestamp("us", tz="UTC")
    times, start, end = table["event_time"], pa.scalar(day.start, kind), pa.scalar(day.end, kind)
    return table.filter(pc.and_(pc.greater_equal(times, start), pc.less(times, end)))


def day_numbers(times: Any) -> NDArray[np.int64]:
    """The number of each event time's day since 1970, UTC; `times` is a pyarrow column."""
    moments = times.to_numpy()
    days: NDArray[np.int64] = moments.astype("datetime64[D]").astype(np.int64)
    return days


def rows_digest(table: Any, metric: str) -> str:
    """A name of joined rows, whatever files they came from, and of what is measured on them."""
    found = hashlib.sha256(metric.encode())
    for name in ("entity_key", "version", "score", "label", "known_at"):
        column = table[name].combine_chunks()
        if pa.types.is_list(column.type):
            column = pc.list_flatten(column)
        valid = pc.is_valid(column)
        # What stands behind a null is whatever was there before.
        for part in (valid, column.filter(valid)):
            sink = pa.BufferOutputStream()
            with pa.ipc.new_stream(sink, pa.schema([("column", part.type)])) as stream:
                stream.write_table(pa.table({"column": part}))
            found.update(sink.getvalue())
    return found.hexdigest()[:32]


def day_name(day: Window) -> str:
    """The day of a window as YYYY-MM-DD."""
    return f"{day.start:%Y-%m-%d}"


def known_by(window: Window) -> str:
    """The end of a window, as revisions name it."""
    return format_time(window.end)


def _read_all(folder: Path) -> list[tuple[Path, EventDay]]:
    return [(file, _read(file)) for file in sorted(folder.glob("*.json"))]


def _read(file: Path) -> EventDay:
    try:
        return EventDay(**read_json(file))
    except (OSError, ValueError, TypeError) as error:
        raise IntegrityBroken(
            f"{file}: not what was known of an event day: {error}",
            remedy="Move the file away and run monitor for that window again.",
        ) from error
