"""Finds slices that became bad lately, by what they lose beyond the other rows of the same days.

A storm hits all rows of a day, and a fault that is three days old is half a week's figure: the
mean of a week against another tells neither from chance. So each day gives a gap, by which the
slice's rows lose more than that day's other rows, and the gaps of late are compared with former
ones (difference in differences by day): those of the newest days with all days before them, and
those of the whole window with the champion's evaluation, for a fault that comes and goes.

How far gaps of good days lie apart is known from few days. So the variance between days, beyond
that of rows (DerSimonian and Laird 1986), is drawn to what it is in the other slices, in whichever
of both times they move more.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr  # Student's distribution, without a wrapper's cost

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
NEWEST = 3  # days
_LEAST_DAYS = 4  # former ones
_LEAST_OF_DAY = 3  # rows of a slice, and of others, from which on a day has a gap
_MOST_ALIKE = 0.6
_DRAWN = 10  # days that the variance of other slices counts as


@dataclass(frozen=True)
class DayLosses:
    """Rows of one time: the loss of each (NaN: none), and its day as a number."""

    values: Floats
    days: NDArray[np.int64]

    def sums(self, own: Flags, days: NDArray[np.int64]) -> Floats:
        """Rows of the named days, their losses and squared losses: [3, days]."""
        own = own & np.isfinite(self.values)
        places = np.searchsorted(days, self.days[own])
        lost = self.values[own]
        parts = (np.ones(len(lost)), lost, lost**2)
        found = [np.bincount(places, weights=part, minlength=len(days)) for part in parts]
        return np.stack(found).astype(np.float64)


@dataclass(frozen=True)
class Worsening:
    """By how much more than other rows of its days a slice lost of late, against before.

    days: of late; gap, gap_before: means by day of what its rows lose beyond the others'; unit: the
    loss of a row; p_value: the chance of such a difference where the slice is worse by the
    tolerance at most.
    """

    days: int
    gap: float
    gap_before: float
    p_value: float
    unit: str = "log_loss"


@dataclass(frozen=True)
class Recent:
    """What the days say of a slice: nothing in `found` where they are too few to say anything.

    shared: since the evaluation the slice did not worsen more than the other rows of its days, by
    the tolerance at least: what made it worse, if it is, is nothing of its own.
    """

    found: tuple[Worsening, ...] = ()
    shared: bool = False


@dataclass(frozen=True)
class DayRule:
    """How days are judged.

    unit: the loss of a row, in words; tolerance: the worsening of a slice's mean loss that is
    normal, by what the mean was before; least: rows that a slice must have in the window, and
    accordingly in its newest days; comparable: whether the slice's figure is a mean of these
    losses, so that they can tell whether what made it worse is its own.
    """

    tolerance: Callable[[float], float]
    least: int
    unit: str = "log_loss"
    comparable: bool = True

    @classmethod
    def of(
        cls, loss: str, metric: str, declared: float, least: int, labels: NDArray[Any]
    ) -> "DayRule":
        """By the metric that is watched, and the one whose loss a row has (see row_losses).

        A declared tolerance of rmse is of the root of mean squares, one of r2 of the variance of
        the labels; of metrics that are no means, such as roc_auc, it is taken for one of the loss.
        """
        unit = {"rmse": "squared error", "accuracy": "share of errors"}.get(loss, loss)
        spread = float(np.var(labels.astype(np.float64))) if metric == "r2" and len(labels) else 1.0

        def allowed(mean: float) -> float:
            root = max(mean, 0.0) ** 0.5
            of_squares = loss == "rmse" and metric != "r2"
            return (root + declared) ** 2 - root**2 if of_squares else declared * spread

        return cls(allowed, least, unit, comparable=metric in (loss, "r2"))


@dataclass(frozen=True)
class _Gaps:
    """A slice's gaps by day, evaluation first: NaN where a day has none; `noise`: their variance.

    rows, lost: of the slice, by day.
    """

    values: Floats
    noise: Floats
    rows: Floats
    lost: Floats

    def part(self, span: slice) -> "_Gaps":
        there = np.isfinite(self.values[span])
        return _Gaps(*(one[span][there] for one in (self.values, self.noise, self.rows, self.lost)))

    @property
    def loss(self) -> float:
        return float(self.lost.sum() / self.rows.sum())

    def between(self) -> float:
        """The variance of days beyond that of rows; NaN of fewer than two days."""
        if len(self.values) < 2:
            return float("nan")
        weights = 1 / self.noise
        middle = float(weights @ self.values / weights.sum())
        excess = float(weights @ (self.values - middle) ** 2) - (len(weights) - 1)
        return max(0.0, excess / float(weights.sum() - (weights @ weights) / weights.sum()))

    def mean(self, between: float) -> tuple[float, float]:
        """The mean gap of days, and its variance."""
        weights = 1 / (self.noise + between)
        return float(weights @ self.values / weights.sum()), float(1 / weights.sum())


def recent_worsening(
    before: DayLosses | None,
    now: DayLosses,
    slices: Sequence[tuple[Flags, Flags]],
    rule: DayRule,
) -> list[Recent]:
    """What the days say of each slice, whose rows before and now are given by flags.

    before: the champion's evaluation, where there is one; now: the labelled rows of the window.
    """
    newest = np.unique(now.days)
    former = np.unique(before.days) if before is not None else newest[:0]
    gaps = []
    for own_before, own_now in slices:
        sides = [_side(now, own_now, newest)]
        if before is not None and len(former):
            sides.insert(0, _side(before, own_before, former))
        values = (np.concatenate(part) for part in zip(*sides, strict=True))
        gaps.append(_Gaps(*values))
    return _Look(len(former), len(newest), rule).all_of(gaps)


def _side(losses: DayLosses, own: Flags, days: NDArray[np.int64]) -> tuple[Floats, ...]:
    rows, lost, squares = losses.sums(own, days)
    other, lost_by_other, other_squares = losses.sums(~own, days)
    there = (rows >= _LEAST_OF_DAY) & (other >= _LEAST_OF_DAY)
    noise = _variance(rows, lost, squares, there) / np.maximum(rows, 1)
    noise += _variance(other, lost_by_other, other_squares, there) / np.maximum(other, 1)
    gaps = lost / np.maximum(rows, 1) - lost_by_other / np.maximum(other, 1)
    return np.where(there, gaps, np.nan), noise, rows, lost


def _variance(rows: Floats, lost: Floats, squares: Floats, there: Flags) -> float:
    """Of a row within its day."""
    inside = (squares - lost**2 / np.maximum(rows, 1))[there].sum()
    freedom = float((rows[there] - 1).sum())
    return max(float(inside) / freedom, 1e-12) if freedom > 0 else 1e-12


@dataclass(frozen=True)
class _Look:
    former: int  # days of the evaluation
    window: int  # days since
    rule: DayRule
    alike: float = 1.0  # by how much a mean of days moves more than that of unrelated days

    def all_of(self, gaps: Sequence[_Gaps]) -> list[Recent]:
        spans = slice(0, self.former), slice(self.former, None)
        spreads = [[one.part(span).between() for one in gaps] for span in spans]
        usual = max(_median(spread) for spread in spreads)
        alike = max(_after_one_another([one.values[span] for one in gaps]) for span in spans)
        return [replace(self, alike=1 + 2 * alike)._one(one, usual) for one in gaps]

    def _one(self, gaps: _Gaps, usual: float) -> Recent:
        evaluated, window = gaps.part(slice(0, self.former)), gaps.part(slice(self.former, None))
        cut = self.former + max(0, self.window - NEWEST)
        tests = []
        if self.window > NEWEST:
            tests.append((gaps.part(slice(0, cut)), gaps.part(slice(cut, None)), NEWEST))
        shared = False
        if len(evaluated.values):
            tests.append((evaluated, window, self.window))
            if len(window.values) and self.rule.comparable:
                change = window.mean(usual)[0] - evaluated.mean(usual)[0]
                shared = change <= self.rule.tolerance(evaluated.loss)
        found = [self._test(*test, usual) for test in tests]
        return Recent(tuple(one for one in found if one is not None), shared)

    def _test(self, then: _Gaps, late: _Gaps, days: int, usual: float) -> Worsening | None:
        few_late = not len(late.values) or 2 * len(late.values) < days  # none: no label has come
        if len(then.values) < _LEAST_DAYS or few_late:
            return None
        if late.rows.sum() < self.rule.least * days / self.window:
            return None
        freedom = len(then.values) - 1 + _DRAWN
        own = then.between() * (len(then.values) - 1)
        between = self.alike * (own + usual * _DRAWN) / freedom
        (gap, error), (gap_before, error_before) = late.mean(between), then.mean(between)
        allowed = self.rule.tolerance(then.loss)
        found = Worsening(len(late.values), gap, gap_before, 1.0, self.rule.unit)
        # A slice that others left behind by becoming better is no worse than it was.
        if late.loss - then.loss <= allowed:
            return found
        away = (gap - gap_before - allowed) / np.sqrt(error + error_before)
        return replace(found, p_value=float(stdtr(freedom, -away)))


def _median(values: Sequence[float]) -> float:
    known = [value for value in values if np.isfinite(value)]
    return float(np.median(known)) if known else 0.0


def _after_one_another(gaps: Sequence[Floats]) -> float:
    """How much a day's gaps are like those of the day before (their correlation), of all slices."""
    products = squares = 0.0
    for values in gaps:
        if np.isfinite(values).sum() >= _LEAST_DAYS:
            apart = values - np.nanmean(values)
            # A mean of few days is drawn to them, which makes neighbours look unlike.
            bias = float(np.nanmean(apart**2))
            products += float(np.nansum(apart[1:] * apart[:-1])) + bias
            squares += float(np.nansum(apart**2))
    return min(_MOST_ALIKE, max(0.0, products / squares)) if squares > 0 else 0.0
