"""Finds the slice where the loss of late sits, if it sits in one.

A slice is a value of one column, or of two at once. Days are unlike: a storm hits every row of a
day. So what counts is the gap, by which a slice's rows lose more than the other rows of the same
day, now against before; gaps of good days say how much it moves by itself. A value that comes on
few days (an icy wind) cannot be told from these days, and is not judged.

A slice is named where its gap rose beyond chance at a rate over all slices that were looked at
(Holm), and where it holds most of all excess. Pairs are searched around the few most suspicious
values only, and one is named in place of its single value where it explains as much with at most
two thirds of the rows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, stdtr  # the distributions, without a wrapper's cost

from ferryman.profiles.two_samples import holm

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]
Flags = NDArray[np.bool_]
Parts = tuple[tuple[str, str], ...]  # column and value, of one or two columns

LEAST_SHARE = 0.6  # of all excess
_LIFT, _NEARLY_ALL = 1.75, 0.9  # so many times its share of the rows, or nearly all excess
_MATERIAL = 0.02  # of the loss of before: what a slice must add to that of all rows
_LEAST_DAYS, _OFTEN = 4, 0.5
_DRAWN = 10  # days that the spread of other slices counts as
_LEAST_OF_DAY = 3  # rows of a slice, and of others, from which on a day has a gap
_AROUND = 4  # single values that pairs are searched around
_AS_MUCH = 0.8
_FEWER = 2 / 3
_SIGMAS = 1.959964  # of an interval with 95 % confidence


@dataclass(frozen=True)
class Losses:
    """Rows of one side: the loss of each (finite), and its day as a number."""

    values: Floats
    days: Codes

    @cached_property
    def days_from_0(self) -> Codes:
        """The days as numbers from 0."""
        return np.asarray(np.unique(self.days, return_inverse=True)[1], dtype=np.int64)

    def by_day(self, own: Flags) -> tuple[Floats, Floats]:
        """How many of some rows each day has, and the sum of their losses."""
        days, size = self.days_from_0, int(self.days_from_0.max()) + 1
        rows = np.bincount(days[own], minlength=size).astype(np.float64)
        lost = np.bincount(days[own], weights=self.values[own], minlength=size)
        return rows, lost.astype(np.float64)


@dataclass(frozen=True)
class PartedColumn:
    """A column in parts: their names, and the part of each row before and now (-1: of none)."""

    names: Sequence[str]
    before: Codes
    now: Codes


@dataclass(frozen=True)
class BadSlice:
    """A slice that holds most of the excess loss.

    columns and values: one or two of each; labelled: its rows now; loss and loss_before: its means;
    excess: what it adds to the mean loss of all rows; share: of all excess, with low and high
    (95 %). Where the other rows lose less than before, it holds all excess.
    """

    columns: tuple[str, ...]
    values: tuple[str, ...]
    labelled: int
    rows_share: float
    loss: float
    loss_before: float
    excess: float
    share: float
    low: float
    high: float
    p_value: float

    @property
    def name(self) -> str:
        """Such as carrier=UA, hour=7."""
        return ", ".join(f"{c}={v}" for c, v in zip(self.columns, self.values, strict=True))

    def as_json(self) -> dict[str, Any]:
        """All of it as plain JSON."""
        return {"name": self.name, **asdict(self)}


def bad_slices(
    columns: Mapping[str, PartedColumn],
    before: Losses,
    now: Losses,
    *,
    least: int,
    rate: float = 0.01,
) -> list[BadSlice]:
    """The slices that explain the excess, the largest first; none where none does.

    Beside the first those that the rows outside of it show by themselves: what overlaps a bad slice
    looks bad, too.

    least: rows that a slice must have on either side; rate: the chance that any is named though
    all rows are hit alike.
    """
    if min(len(before.values), len(now.values)) < 2 * least:
        return []
    masks: dict[Parts, tuple[Flags, Flags]] = {
        ((name, value),): (column.before == code, column.now == code)
        for name, column in columns.items()
        for code, value in enumerate(column.names)
    }
    gaps = (_gap(before, mask) for mask, _ in masks.values())
    spreads = [one.spread for one in gaps if one is not None and one.days >= _LEAST_DAYS]
    look = _Look(before, now, least, float(np.median(spreads)) if spreads else None)
    singles = look.all_of(masks)
    first = sorted(singles, key=lambda one: one.p_value)[:_AROUND]
    crossed: dict[Parts, tuple[Flags, Flags]] = {}
    for one in first:
        [column], [value] = one.columns, one.values
        own = masks[((column, value),)]
        for (other,), mask in masks.items():
            if other[0] != column:
                key = tuple(sorted([(column, value), other]))
                crossed[key] = (own[0] & mask[0], own[1] & mask[1])
    looked = singles + look.all_of(crossed)
    stands = holm(np.asarray([one.p_value for one in looked], dtype=np.float64), rate)
    named = [one for one, sure in zip(looked, stands, strict=True) if sure]
    material = _MATERIAL * abs(float(before.values.mean()))
    found = _sharpest([one for one in named if one.excess >= material and _concentrated(one)])
    if len(found) < 2:
        return found
    bad = {**masks, **crossed}[tuple(zip(found[0].columns, found[0].values, strict=True))]
    rest = {
        name: PartedColumn(one.names, one.before[~bad[0]], one.now[~bad[1]])
        for name, one in columns.items()
    }
    sides = [
        Losses(side.values[~own], side.days[~own])
        for side, own in zip((before, now), bad, strict=True)
    ]
    return [found[0], *bad_slices(rest, sides[0], sides[1], least=least, rate=rate)]


def _concentrated(one: BadSlice) -> bool:
    """Whether a slice tells where the loss sits: a loss that rises everywhere never rises evenly,
    since the surest answers lose most."""
    return one.share >= LEAST_SHARE and (
        one.share >= _LIFT * one.rows_share or one.share >= _NEARLY_ALL
    )


def _sharpest(found: list[BadSlice]) -> list[BadSlice]:
    """Singles, each in the form of the pair that explains as much with fewer rows, if there is."""
    singles = [one for one in found if len(one.columns) == 1]
    pairs = [one for one in found if len(one.columns) > 1]
    named: dict[str, BadSlice] = {}
    for one in singles:
        inside = [
            pair
            for pair in pairs
            if _within(pair, one)
            and pair.excess >= _AS_MUCH * one.excess
            and pair.labelled <= _FEWER * one.labelled
        ]
        best = max(inside, key=lambda pair: pair.excess / pair.rows_share, default=one)
        named[best.name] = best
    for pair in pairs:
        if not any(_within(pair, one) for one in singles):
            named[pair.name] = pair
    # What suffers only where another slice does is told by that one.
    whole = {one.name for one in named.values() if len(one.columns) == 1}
    kept = [one for one in named.values() if len(one.columns) == 1 or not _parts(one) & whole]
    return sorted(kept, key=lambda one: (-one.excess, one.labelled, one.name))


def _parts(one: BadSlice) -> set[str]:
    return {f"{c}={v}" for c, v in zip(one.columns, one.values, strict=True)}


def _within(pair: BadSlice, single: BadSlice) -> bool:
    parts = zip(pair.columns, pair.values, strict=True)
    return (single.columns[0], single.values[0]) in parts


@dataclass(frozen=True)
class _Look:
    before: Losses
    now: Losses
    least: int
    spread: float | None  # of a usual slice from day to day; None of too few days

    @cached_property
    def excess(self) -> float:
        return float(self.now.values.mean() - self.before.values.mean())

    def all_of(self, masks: Mapping[Parts, tuple[Flags, Flags]]) -> list[BadSlice]:
        made = (self._one(parts, *mask) for parts, mask in masks.items())
        return [one for one in made if one is not None]

    def _one(self, parts: Parts, before: Flags, now: Flags) -> BadSlice | None:
        rows, rows_before = int(now.sum()), int(before.sum())
        others = min(len(now) - rows, len(before) - rows_before)
        if min(rows, rows_before) < self.least or others < self.least:
            return None
        then, late = _gap(self.before, before), _gap(self.now, now)
        if then is None or late is None:
            return None
        apart = late.mean - then.mean
        error = float(np.hypot(then.error, late.error))
        freedom = 0
        if self.spread is not None:
            if then.days < _LEAST_DAYS:
                return None
            # Of a few days alone a slice's spread is poorly known: it is drawn to that of others.
            freedom = then.days - 1 + _DRAWN
            spread = (then.spread * (then.days - 1) + self.spread * _DRAWN) / freedom
            error = max(error, float(np.sqrt(spread * (1 / then.weight + 1 / late.weight))))
        unlikely = stdtr(freedom, -apart / error) if freedom else ndtr(-apart / error)
        weight = rows / len(now)
        of_all = max(self.excess, weight * apart, float(np.finfo(np.float64).tiny))
        share, apart_by = weight * apart / of_all, _SIGMAS * weight * error / of_all
        return BadSlice(
            columns=tuple(column for column, _ in parts),
            values=tuple(value for _, value in parts),
            labelled=rows,
            rows_share=weight,
            loss=float(self.now.values[now].mean()),
            loss_before=float(self.before.values[before].mean()),
            excess=weight * apart,
            share=share,
            low=share - apart_by,
            high=share + apart_by,
            p_value=float(unlikely),
        )


@dataclass(frozen=True)
class _Gap:
    """By how much a slice's rows lose more than the other rows of their days.

    mean: over days by weight; error: of the mean, from rows; spread: of days, a unit of weight.
    """

    mean: float
    error: float
    spread: float
    weight: float
    days: int


def _gap(losses: Losses, own: Flags) -> _Gap | None:
    """None for a slice that half of the days lack, or that lacks others on them."""
    rows, lost = losses.by_day(own)
    other, lost_by_other = losses.by_day(~own)
    there = (rows >= _LEAST_OF_DAY) & (other >= _LEAST_OF_DAY)
    days = int(np.count_nonzero(there))
    if days < max(1.0, _OFTEN * np.count_nonzero(rows + other >= 2 * _LEAST_OF_DAY)):
        return None
    rows, lost, other, lost_by_other = (part[there] for part in (rows, lost, other, lost_by_other))
    gaps, weights = lost / rows - lost_by_other / other, rows * other / (rows + other)
    weight = float(weights.sum())
    mean = float(np.sum(weights * gaps)) / weight
    noise = losses.values[own].var() / rows + losses.values[~own].var() / other
    error = float(np.sqrt(np.sum(weights**2 * noise))) / weight
    spread = float(np.sum(weights * (gaps - mean) ** 2)) / (days - 1) if days > 1 else 0.0
    return _Gap(mean, max(error, np.finfo(np.float64).tiny), spread, weight, days)
