"""Finds the slice where the loss of late sits, if it sits in one.

A slice is a value of one column, or of two at once. Its excess is what its rows lose beyond what
they lost before. A slice is named where its loss rose more than that of all other rows did (so that
what hits every row alike names none), beyond chance at a rate over all slices that were looked at
(Holm), and where it holds most of all excess. Pairs are searched around the few most
suspicious values only, and one is named in place of its single value where it explains as much with
at most two thirds of the rows.

Rows of one day are alike: where both sides have four days or more, the error of a mean is at least
that of its days as clusters.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr  # the normal distribution, without a wrapper's cost

from ferryman.profiles.two_samples import holm

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]
Flags = NDArray[np.bool_]
Parts = tuple[tuple[str, str], ...]  # column and value, of one or two columns

LEAST_SHARE = 0.6  # of all excess
_LIFT, _NEARLY_ALL = 1.75, 0.9  # so many times its share of the rows, or nearly all excess
_LEAST_DAYS = 4
_AROUND = 4  # single values that pairs are searched around
_AS_MUCH = 0.8
_FEWER = 2 / 3
_SIGMAS = 1.959964  # of an interval with 95 % confidence


@dataclass(frozen=True)
class Losses:
    """Rows of one side: the loss of each (finite), and its day as a number."""

    values: Floats
    days: Codes


@dataclass(frozen=True)
class PartedColumn:
    """A column in parts: their names, and the part of each row before and now (-1: of none)."""

    names: Sequence[str]
    before: Codes
    now: Codes


@dataclass(frozen=True)
class BadSlice:
    """A slice that holds most of the excess loss.

    columns and values: one or two of each; labelled: its rows now; share: of all excess, with low
    and high (95 %, of the slice by itself); loss and loss_before: its means.
    """

    columns: tuple[str, ...]
    values: tuple[str, ...]
    labelled: int
    rows_share: float
    loss: float
    loss_before: float
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
    """The slices that explain the excess, that with the largest share first; none where none does.

    least: rows that a slice must have on either side; rate: the chance that any is named though
    all rows are hit alike.
    """
    if min(len(before.values), len(now.values)) < 2 * least:
        return []
    excess = float(now.values.mean() - before.values.mean())
    if excess <= 0:
        return []
    look = _Look(before, now, excess, least)
    masks: dict[Parts, tuple[Flags, Flags]] = {
        ((name, value),): (column.before == code, column.now == code)
        for name, column in columns.items()
        for code, value in enumerate(column.names)
    }
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
    # All that was looked at counts, with the pairs that a wider search would have made of them.
    looked = singles + look.all_of(crossed)
    stands = holm(np.asarray([one.p_value for one in looked], dtype=np.float64), rate)
    named = [one for one, sure in zip(looked, stands, strict=True) if sure]
    return _sharpest([one for one in named if _concentrated(one)])


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
            and pair.share >= _AS_MUCH * one.share
            and pair.labelled <= _FEWER * one.labelled
        ]
        best = max(inside, key=lambda pair: pair.share / pair.rows_share, default=one)
        named[best.name] = best
    for pair in pairs:
        if not any(_within(pair, one) for one in singles):
            named[pair.name] = pair
    return sorted(named.values(), key=lambda one: (-one.share, one.labelled, one.name))


def _within(pair: BadSlice, single: BadSlice) -> bool:
    parts = zip(pair.columns, pair.values, strict=True)
    return (single.columns[0], single.values[0]) in parts


@dataclass(frozen=True)
class _Look:
    before: Losses
    now: Losses
    excess: float
    least: int

    def all_of(self, masks: Mapping[Parts, tuple[Flags, Flags]]) -> list[BadSlice]:
        made = (self._one(parts, *mask) for parts, mask in masks.items())
        return [one for one in made if one is not None]

    def _one(self, parts: Parts, before: Flags, now: Flags) -> BadSlice | None:
        rows, rows_before = int(now.sum()), int(before.sum())
        others = min(len(now) - rows, len(before) - rows_before)
        if min(rows, rows_before) < self.least or others < self.least:
            return None
        was, was_error = _mean(self.before, before)
        is_now, error = _mean(self.now, now)
        rest_was, rest_was_error = _mean(self.before, ~before)
        rest, rest_error = _mean(self.now, ~now)
        rose, own = is_now - was, float(np.hypot(was_error, error))
        apart = rose - (rest - rest_was)
        spread = float(np.sqrt(own**2 + rest_was_error**2 + rest_error**2))
        p_value = float(ndtr(-apart / spread)) if spread > 0 else float(apart <= 0)
        weight = rows / len(now)
        ends = [weight * (rose + sign * _SIGMAS * own) / self.excess for sign in (-1, 1)]
        return BadSlice(
            columns=tuple(column for column, _ in parts),
            values=tuple(value for _, value in parts),
            labelled=rows,
            rows_share=weight,
            loss=is_now,
            loss_before=was,
            share=weight * rose / self.excess,
            low=ends[0],
            high=ends[1],
            p_value=p_value,
        )


def _mean(losses: Losses, own: Flags) -> tuple[float, float]:
    """The mean loss of some rows, and its error: that of rows or of days, whichever is larger."""
    values, days = losses.values[own], losses.days[own]
    count, mean = len(values), float(values.mean())
    variance = float(values.var(ddof=1)) / count if count > 1 else 0.0
    days = days - days.min()
    there = int(np.count_nonzero(np.bincount(days)))
    if there >= _LEAST_DAYS:
        apart = np.bincount(days, weights=values - mean)
        clusters = float(np.sum(apart**2)) / count**2 * there / (there - 1)
        variance = max(variance, clusters)
    return mean, float(np.sqrt(variance))
