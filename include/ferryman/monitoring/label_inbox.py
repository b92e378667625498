"""From labels that clients posted to label rows that can be joined.

A posted label names its prediction by entity key, or by the id of the request that was answered.
When it became known is what the client said of it, or else when it came.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ferryman.spec.windows import DAY, Window

_TIME = pa.timestamp("us", tz="UTC")
# As the server makes keys of entity columns: the time of the event stands at the end.
_KEY_TIME = r"\|(?P<time>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?)Z$"


@dataclass(frozen=True)
class Inbox:
    """Posted labels as label rows.

    labels: entity_key, event_time (null where nobody knows it), label, known_at; posted: rows that
    came; ambiguous: rows left out because their request had answers to several events.
    """

    labels: Any
    posted: int
    ambiguous: int


def told_times(posted: Any) -> Any:
    """The event time of each posted row: as told, else as its key says it, else null."""
    texts = pc.struct_field(pc.extract_regex(posted["entity_key"], _KEY_TIME), "time")
    try:
        in_key = texts.cast(pa.timestamp("us"))
    except pa.ArrowInvalid:  # one of them looks like a time, and is none
        in_key = pa.array([_moment(text) for text in texts.to_pylist()], pa.timestamp("us"))
    return pc.coalesce(posted["event_time"], pc.assume_timezone(in_key, "UTC"))


def _moment(text: str | None) -> datetime | None:
    try:
        return datetime.fromisoformat(text) if text else None
    except ValueError:
        return None


def resolve(posted: Any, answers: Any) -> Inbox:
    """Label rows of posted ones; `answers`: logged predictions, which tell what requests are about.

    The label of a request nobody knows stays under the key that its only row would have: it is
    joined when the prediction is found. Of rows that name a request with several events it cannot
    be said which one they are about.
    """
    if not posted.num_rows:
        empty = [pa.field("entity_key", pa.string()), pa.field("event_time", _TIME)]
        empty += [posted.schema.field("label"), pa.field("known_at", _TIME)]
        return Inbox(pa.schema(empty).empty_table(), 0, 0)
    names = answers.select(["request_id", "entity_key", "event_time"])
    by_request = names.group_by("request_id").aggregate(
        [("entity_key", "count_distinct"), ("entity_key", "min")]
    )
    place = pc.index_in(posted["request_id"], value_set=_flat(by_request["request_id"]))
    # A null is found among nulls only: rows that name a key have no place.
    place = pc.if_else(pc.is_valid(posted["request_id"]), place, None)
    events = by_request["entity_key_count_distinct"].take(place)
    single = by_request["entity_key_min"].take(place)
    unknown = pc.binary_join_element_wise(posted["request_id"], "#0", "")
    keys = pc.coalesce(posted["entity_key"], single, unknown)
    at = pc.index_in(keys, value_set=_flat(names["entity_key"]))
    rows = pa.table(
        {
            "entity_key": keys,
            "event_time": pc.coalesce(told_times(posted), names["event_time"].take(at).cast(_TIME)),
            "label": posted["label"],
            "known_at": pc.coalesce(posted["known_at"], posted["received_at"]),
        }
    )
    several = pc.fill_null(pc.greater(events, 1), False)
    ambiguous = pc.sum(several).as_py() or 0
    return Inbox(rows.filter(pc.invert(several)), posted.num_rows, int(ambiguous))


def days_of(times: Any) -> set[date]:
    """The days, UTC, of a column of times."""
    found = pc.unique(pc.floor_temporal(times.drop_null(), unit="day")).to_pylist()
    return {moment.date() for moment in found}


def days_about(window: Window, back: timedelta) -> set[date]:
    """The days of events that a label without a time, which came in a window, may be about.

    So far back, and to the day after: a prediction may be logged later than its label came.
    """
    days, day = set(), window.start - back
    while day < window.end + DAY:
        days.add(day.date())
        day += DAY
    return days


def spans(days: Iterable[date]) -> list[Window]:
    """Days as spans without gaps, oldest first."""
    found: list[Window] = []
    for day in sorted(set(days)):
        start = datetime(day.year, day.month, day.day, tzinfo=UTC)
        if found and found[-1].end == start:
            found[-1] = Window(start=found[-1].start, end=start + DAY)
        else:
            found.append(Window(start=start, end=start + DAY))
    return found


def _flat(column: Any) -> Any:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
