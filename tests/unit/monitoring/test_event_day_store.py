"""What was known of a day of events is kept by night, once, and told as of any night."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from ferryman.errors import IntegrityBroken
from ferryman.monitoring.labels import JOINED_SCHEMA, joined_schema
from ferryman.monitoring.quality_windows import (
    EventDay,
    EventDays,
    event_days,
    is_mature,
    known_by,
    rows_digest,
    rows_of,
)
from ferryman.spec.windows import Window, day_window

T0 = datetime(2013, 2, 1, tzinfo=UTC)
MONTH = timedelta(days=30)


def night(number: int) -> Window:
    return day_window(T0 + timedelta(days=number))


def said(number: int, value: float | None, labelled: int = 80) -> EventDay:
    return EventDay(
        day="2013-02-01",
        known=known_by(night(number)),
        metric="log_loss",
        predicted=100,
        labelled=labelled,
        settled=labelled,
        coverage=labelled / 100,
        value=value,
        low=None,
        high=None,
        estimate=0.5,
        text="as it was",
        rows="0" * 32,
    )


@pytest.fixture
def store(tmp_path: Path) -> EventDays:
    return EventDays(tmp_path)


def values(store: EventDays, number: int) -> list[float | None]:
    return [one.value for one in store.said("m", "2013-02-01", night(number).end)]


def test_a_statement_is_kept_where_something_changed(store: EventDays) -> None:
    for number, value in ((1, None), (2, 0.4), (3, 0.4), (4, 0.5), (5, 0.4)):
        store.write("m", night(number), said(number, value))
    assert values(store, 9) == [None, 0.4, 0.5, 0.4]
    assert values(store, 3) == [None, 0.4]
    assert store.days("m") == ["2013-02-01"]
    assert store.days("other") == []


def test_a_night_that_says_something_else_replaces_its_own_statement(store: EventDays) -> None:
    for number, value in ((1, 0.1), (2, 0.2), (3, 0.3)):
        store.write("m", night(number), said(number, value))
    store.write("m", night(2), said(2, 0.25))
    assert values(store, 9) == [0.1, 0.25, 0.3]
    store.write("m", night(2), said(2, 0.1))  # nothing new any more
    assert values(store, 9) == [0.1, 0.3]


def test_a_damaged_statement_is_named(store: EventDays, tmp_path: Path) -> None:
    store.write("m", night(1), said(1, 0.1))
    [file] = tmp_path.rglob("*.json")
    for content in ("{", "[]", '{"day": "2013-02-01"}'):
        file.write_text(content)
        with pytest.raises(IntegrityBroken, match=file.name):
            values(store, 9)


def test_a_day_is_final_after_its_time_or_with_all_labels() -> None:
    day = night(0)
    partly, whole = said(1, 0.1), replace(said(1, 0.1), settled=100)
    assert not is_mature(day, partly, day.end + MONTH - timedelta(seconds=1), MONTH)
    assert is_mature(day, partly, day.end + MONTH, MONTH)
    assert is_mature(day, whole, day.end, MONTH)
    nothing = replace(partly, predicted=0, settled=0)
    assert not is_mature(day, nothing, day.end, MONTH)


def test_the_days_of_a_night_reach_back_to_the_one_that_becomes_final() -> None:
    days = event_days(night(30), MONTH)
    assert (days[0], days[-1], len(days)) == (night(0), night(30), 31)
    week = Window(start=night(30).start, end=night(36).end)
    assert (event_days(week, MONTH)[0], len(event_days(week, MONTH))) == (night(0), 37)


def joined(labels: list[bool | None], order: list[int]) -> pa.Table:
    rows = range(len(labels))
    columns = [
        [f"k{row}" for row in rows],
        [T0 + timedelta(hours=12 * row) for row in rows],
        [1] * len(labels),
        [1] * len(labels),
        [0.25] * len(labels),
        labels,
        [None if label is None else T0 for label in labels],
    ]
    arrays = [pa.array(c, f.type) for c, f in zip(columns, JOINED_SCHEMA, strict=True)]
    return pa.Table.from_arrays(arrays, schema=JOINED_SCHEMA).take(order)


def test_rows_have_a_name_that_their_pieces_do_not_change() -> None:
    table = joined([True, None, False], [0, 1, 2])
    pieces = pa.concat_tables([table.slice(0, 1), table.slice(1)])
    name = rows_digest(table, "log_loss")
    assert rows_digest(pieces, "log_loss") == name
    others = [joined([True, False, False], [0, 1, 2]), joined([True, None, False], [0, 1])]
    assert name not in {rows_digest(one, "log_loss") for one in others}
    assert rows_digest(table, "roc_auc") != name
    assert rows_of(table, night(0)).num_rows == 2
    lists = joined_schema("multiclass", ["a", "b"]).empty_table()
    assert len(rows_digest(lists, "log_loss")) == 32
