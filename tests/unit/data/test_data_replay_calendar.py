"""A recorded year, lived again."""

from datetime import UTC, datetime, timedelta

import pytest

from ferryman.data.windows.replay_calendar import replayed_spans
from ferryman.spec.data import ReplaySpec
from ferryman.spec.windows import Window, day_window

REPLAY = ReplaySpec(year=2013)


def day(year: int, month: int, number: int) -> Window:
    return day_window(datetime(year, month, number, tzinfo=UTC))


@pytest.mark.parametrize(
    ("asked", "read"),
    [
        (day(2013, 5, 7), day(2013, 5, 7)),
        (day(2026, 5, 7), day(2013, 5, 7)),
        (day(2012, 12, 31), day(2013, 12, 31)),
        (day(2028, 2, 29), day(2013, 2, 28)),
        (day(2028, 3, 1), day(2013, 3, 1)),
    ],
)
def test_the_same_day_of_the_recorded_year(asked: Window, read: Window) -> None:
    (span,) = replayed_spans(asked, REPLAY)
    assert (span.asked, span.read) == (asked, read)
    assert span.read.shifted(span.shift) == asked
    assert span.shift % timedelta(days=1) == timedelta()


def test_nothing_moves_without_replay() -> None:
    (span,) = replayed_spans(day(2026, 1, 1), None)
    assert span.read == span.asked == day(2026, 1, 1)


def test_a_span_over_midnight_is_cut_so_that_each_part_moves_by_itself() -> None:
    start = datetime(2025, 12, 31, 12, tzinfo=UTC)
    spans = replayed_spans(Window(start=start, end=start + timedelta(days=1)), REPLAY)
    assert [span.read.start for span in spans] == [
        datetime(2013, 12, 31, 12, tzinfo=UTC),
        datetime(2013, 1, 1, tzinfo=UTC),
    ]
    assert sum((s.read.end - s.read.start for s in spans), timedelta()) == timedelta(days=1)
