"""Lives a recorded year again: which days to read for the days that are asked for."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from ferryman.spec.data import ReplaySpec
from ferryman.spec.windows import DAY, Window


@dataclass(frozen=True)
class ReplayedSpan:
    """A span that was asked for and the equally long one that is read for it."""

    asked: Window
    read: Window

    @property
    def shift(self) -> timedelta:
        """What to add to a time that was read; whole days."""
        return self.asked.start - self.read.start


def replayed_spans(span: Window, replay: ReplaySpec | None) -> list[ReplayedSpan]:
    """The spans to read for a span: itself, or the same days of the replayed year.

    A day of the replayed year is read as it is. 29 February reads 28 February where the replayed
    year has none.
    """
    if replay is None:
        return [ReplayedSpan(asked=span, read=span)]
    return [
        ReplayedSpan(asked=part, read=part.shifted(_same_day(part.start, replay.year)))
        for part in _cut_at_midnights(span)
    ]


def _same_day(moment: datetime, year: int) -> timedelta:
    """How far the same day of another year is away; a moment of that year does not move."""
    day = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    try:
        target = day.replace(year=year)
    except ValueError:  # 29 February
        target = day.replace(year=year, day=28)
    return target - day


def _cut_at_midnights(span: Window) -> Iterator[Window]:
    start = span.start
    while start < span.end:
        midnight = datetime(start.year, start.month, start.day, tzinfo=UTC) + DAY
        end = min(midnight, span.end)
        yield Window(start=start, end=end)
        start = end
