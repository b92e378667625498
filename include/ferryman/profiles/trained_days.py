"""How the days of the training data differ, kept beside each column's profile as `days`.

A champion's first nights have too few days of their own to tell a break from how days differ.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ferryman.profiles.column_profile import ColumnProfile, Profile, read_column
from ferryman.profiles.reference_bins import bins_of
from ferryman.profiles.two_samples import MANY_DAYS, DaySpread, day_spread

_KEY = "days"


@dataclass(frozen=True)
class TrainedDays:
    """How days of so many rows, on average, differ in one column."""

    spread: DaySpread
    rows: float


def trained_days(before: ColumnProfile, days: Iterable[ColumnProfile]) -> TrainedDays | None:
    """How some days differ over the bins of a profile; None of fewer than 14."""
    bins = bins_of(before)
    fitting = [day for day in days if bins.fits(day) and day.rows]
    if len(fitting) < MANY_DAYS:
        return None
    return TrainedDays(
        day_spread(bins.by_day(fitting)), sum(d.rows for d in fitting) / len(fitting)
    )


def with_days(stored: Mapping[str, Any], days: Iterable[Profile]) -> dict[str, Any]:
    """The JSON form of profiles, each with {count, rows, leading} of its days where known."""
    own, kept = list(days), dict(stored)
    for name, column in stored.items():
        known = trained_days(read_column(column), [day[name] for day in own if name in day])
        if known is not None:
            told = {"count": known.spread.days, "rows": known.rows, "leading": known.spread.leading}
            kept[name] = {**column, _KEY: told}
    return kept


def read_days(stored: Mapping[str, Any]) -> dict[str, TrainedDays]:
    """How the days of each column differ, of those whose profile tells it."""
    return {
        name: TrainedDays(
            DaySpread(int(column[_KEY]["count"]), column[_KEY]["leading"]), column[_KEY]["rows"]
        )
        for name, column in stored.items()
        if column.get(_KEY)
    }
