"""The error of groups' figures where days, not rows, are drawn by chance.

The rows of a day are alike, and where groups come on other days, or one of them on fewer, that
looks like a gap between groups. So each day is left out once (jackknife; Efron and Tibshirani 1993,
chapter 11). What a day does to two groups at once is no gap between them: days count for all groups
together. The error is never taken to be less than that of rows.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]
# The figure of a group in weightings of its rows: counts [weightings, rows] to [weightings].
Weighted = Callable[[Floats], Floats]
LEAST_DAYS = 4


@dataclass(frozen=True)
class DayErrors:
    """Errors of groups by days.

    moves: what each day does to each group's figure, [groups, days]; apart: the variance of a group
    that days do not tell, [groups]; by_row: its error by rows; freedom: degrees, [groups].
    """

    moves: Floats
    apart: Floats
    by_row: Floats
    freedom: Floats

    @property
    def errors(self) -> Floats:
        """Of each group's figure."""
        return np.asarray(np.sqrt((self.moves**2).sum(axis=1) + self.apart))

    def between(self, one: NDArray[np.intp], other: NDArray[np.intp]) -> Floats:
        """The error of the difference of two groups, for each pair of places."""
        moved = ((self.moves[one] - self.moves[other]) ** 2).sum(axis=1)
        by_row = self.by_row[one] ** 2 + self.by_row[other] ** 2
        return np.asarray(np.sqrt(np.maximum(moved + self.apart[one] + self.apart[other], by_row)))

    def draws(self, resamples: int, seed: int) -> Floats:
        """How far the figures lie from their means by chance, [groups, resamples]."""
        random = np.random.default_rng(seed)
        groups, days = self.moves.shape
        own = random.standard_normal((groups, resamples)) * np.sqrt(self.apart)[:, None]
        return np.asarray(self.moves @ random.standard_normal((days, resamples)) + own)


def day_errors(
    groups: Sequence[tuple[Weighted, NDArray[np.int64]]], by_row: Floats
) -> DayErrors | None:
    """Errors of groups, each given by its figure and the day of each of its rows.

    None where no group has four days. Of a group that has fewer, the error is that of rows, times
    what days add to the others' (their median).
    """
    names = np.unique(np.concatenate([days for _, days in groups]))
    moves = np.zeros((len(groups), len(names)))
    freedom = np.array([len(days) - 1.0 for _, days in groups])
    told = np.zeros(len(groups), dtype=np.bool_)
    for place, (weighted, days) in enumerate(groups):
        own, codes, rows = np.unique(days, return_inverse=True, return_counts=True)
        if len(own) < LEAST_DAYS:
            continue
        kept = codes[None, :] != np.arange(len(own))[:, None]
        left = weighted(kept.astype(np.float64))
        if not np.isfinite(left).all():
            continue  # it stands on one day alone
        scale = np.sqrt((len(own) - 1) / len(own))
        moves[place, np.searchsorted(names, own)] = scale * (left - left.mean())
        # Days of few rows tell little: so many days of equal size tell as much.
        freedom[place] = max(1.0, float(rows.sum() ** 2 / (rows**2).sum()) - 1)
        told[place] = True
    if not told.any():
        return None
    by_day = np.sqrt((moves**2).sum(axis=1))
    more = np.median(np.maximum(1.0, by_day[told] / np.maximum(by_row[told], 1e-12)))
    whole = np.where(told, np.maximum(by_row, by_day), by_row * more)
    return DayErrors(moves, np.maximum(0.0, whole**2 - by_day**2), by_row, freedom)


def event_days(frame: "pd.DataFrame") -> NDArray[np.int64] | None:
    """The number of the day, UTC, of each row's `event_time`; None of rows that have none."""
    if "event_time" not in frame.columns or frame["event_time"].isna().any():
        return None
    moments = frame["event_time"].to_numpy(dtype="datetime64[ns]")
    return np.asarray(moments.astype("datetime64[D]").astype(np.int64))
