"""The shape of a column of numbers: a thousand weighted points, mergeable and exact at ties.

Each point stands for rows that are neighbours in value. A *pure* point is one exact value and all
its rows; a mixed one is a cell of neighbours with their mean. Every value that holds 1/resolution
of the rows is pure, and every cell holds at most that share, less and less towards both ends, so
that the share of rows below any value is known within 1/resolution. Counting a stream adds at most
1/1000, each later merge that has to make room 1/resolution. Between the points a cell's rows are
spread out so that its mean stays what it was; on smooth columns the error falls to about 1e-4.

Nothing is random: the same parts in the same order give the same sketch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

RESOLUTION = 1000
_LEAST = 100
_TAIL = 16  # points at either end whose gaps may be longer than all the rest
_EXACT_INTEGERS = 2.0**53


def resolution_for(rows: int) -> int:
    """How many cells a stored sketch of so many rows has: 4 sqrt(rows), from 100 to 1,000.

    The error of the sketch, 1/resolution, so stays a quarter of the sampling error of its rows, or
    1 in 1,000; a small window has a small sketch.
    """
    return int(np.clip(4 * np.sqrt(rows), _LEAST, RESOLUTION))


@dataclass(frozen=True)
class QuantileSketch:
    """Points in ascending order of value: values, rows that each stands for, and whether pure.

    `low` and `high` are the smallest and largest value of all rows.
    """

    values: Floats
    weights: Floats
    pure: Flags
    low: float
    high: float

    @property
    def total(self) -> float:
        """All rows."""
        return float(self.weights.sum())

    def compressed(self, resolution: int) -> "QuantileSketch":
        """The same rows in at most about twice `resolution` points; itself where it is small."""
        if len(self.values) <= resolution:
            return self
        return _compress(self, resolution)

    def shares_below(self, values: Floats, *, included: bool = True) -> Floats:
        """The share of rows at or below each value; below it, where `included` is False."""
        places, heights = self._curve
        at = np.searchsorted(places, values, side="right" if included else "left")
        before, after = np.maximum(at - 1, 0), np.minimum(at, len(places) - 1)
        # Halves make the differences finite wherever the values are.
        width = places[after] / 2 - places[before] / 2
        ahead = np.asarray(values) / 2 - places[before] / 2
        way = np.divide(ahead, width, out=np.zeros(len(ahead)), where=width > 0)
        way = np.minimum(np.maximum(way, 0), 1)
        inside = heights[before] + way * (heights[after] - heights[before])
        shares = np.where(at == 0, 0.0, np.where(at == len(places), 1.0, inside))
        return np.asarray(shares, dtype=np.float64)

    def quantiles(self, shares: Floats) -> Floats:
        """The value below or at which each share of the rows lies."""
        places, heights = self._curve
        at = np.clip(np.searchsorted(heights, shares, side="left"), 1, len(places) - 1)
        rise = heights[at] - heights[at - 1]
        way = np.divide(shares - heights[at - 1], rise, out=np.zeros(len(at)), where=rise > 0)
        way = np.clip(way, 0, 1)
        found = places[at - 1] * (1 - way) + places[at] * way
        return np.asarray(np.clip(found, self.low, self.high), dtype=np.float64)

    @property
    def places(self) -> Floats:
        """The values at which the curve of `shares_below` bends or jumps, ascending."""
        return self._curve[0]

    @cached_property
    def _curve(self) -> tuple[Floats, Floats]:
        """Values and shares of rows; equal values one after the other are a jump."""
        values, pure = self.values, self.pure
        between = values[:-1] / 2 + values[1:] / 2
        between = np.where(pure[:-1], values[:-1], np.where(pure[1:], values[1:], between))
        left = np.where(pure, values, np.concatenate([[self.low], between]))
        right = np.where(pure, values, np.concatenate([between, [self.high]]))
        left, right = np.minimum(left, values), np.maximum(right, values)
        width, ahead = right / 2 - left / 2, right / 2 - values / 2
        # A cell's rows lie evenly left and right of its mean, so many that the mean is kept.
        lower = np.divide(ahead, width, out=np.full(len(values), 0.5), where=width > 0)
        after = np.cumsum(self.weights)
        before = after - self.weights
        heights = np.stack([before, before + np.clip(lower, 0, 1) * self.weights, after], axis=1)
        places = np.stack([left, values, right], axis=1)
        total = after[-1]
        return np.maximum.accumulate(places.ravel()), np.clip(heights.ravel() / total, 0, 1)

    def as_json(self) -> dict[str, Any]:
        """{values: [[value, rows], ...], cells: [[rows, mean, mean, ...], ...]}.

        `values` are the pure points. Each of `cells` is a run of cells with equally many rows
        each, `rows` in all of them. Means are rounded to a twentieth of the gap to their
        neighbours, in the tails to a two-thousandth.
        """
        shown = _rounded(self)
        pure = [
            [_short(value), _short(round(weight, 6))]
            for value, weight in zip(
                self.values[self.pure].tolist(), self.weights[self.pure].tolist(), strict=True
            )
        ]
        cells: list[list[float | int]] = []
        at = np.flatnonzero(~self.pure)
        if len(at):
            weights = self.weights[at]
            breaks = np.flatnonzero((np.diff(at) > 1) | ~np.isclose(np.diff(weights), 0)) + 1
            for run in np.split(at, breaks):
                means = [_short(value) for value in shown[run].tolist()]
                cells.append([_short(round(float(self.weights[run].sum()), 6)), *means])
        return {"values": pure, "cells": cells}


def sketch_of_sorted(values: Floats, cells: int) -> QuantileSketch:
    """The sketch of numbers in ascending order (at least one), exact where few differ."""
    rows = len(values)
    starts = np.flatnonzero(np.concatenate([[True], values[1:] != values[:-1]]))
    if len(starts) <= cells:
        weights = np.diff(np.append(starts, rows)).astype(np.float64)
        return _sketch(values[starts], weights, np.ones(len(starts), dtype=np.bool_))
    size = max(1, rows // cells)
    # A value of 2 x size rows fills one aligned cell at least, so no other can be heavy.
    whole = values[: rows // size * size].reshape(-1, size)
    heavy = values[:0] if size == 1 else _distinct(whole[whole[:, 0] == whole[:, -1], 0])
    begin, end = (np.searchsorted(values, heavy, side=side) for side in ("left", "right"))
    ends = _tails(size)
    borders = np.concatenate([np.arange(0, rows, size), begin, end, ends, rows - ends, [rows]])
    cuts = _distinct(np.sort(borders).astype(np.int64))
    firsts, sizes = cuts[:-1], np.diff(cuts)
    first, last = values[firsts], values[cuts[1:] - 1]
    with np.errstate(over="ignore", invalid="ignore"):
        means = np.add.reduceat(values, firsts) / sizes
    means = np.where(np.isfinite(means), means, first / 2 + last / 2)
    means = np.clip(means, first, last)
    return _joined([_sketch(means, sizes.astype(np.float64), first == last)])


def merge_sketches(sketches: Sequence[QuantileSketch]) -> QuantileSketch:
    """The sketch of all rows together; nothing is lost before `compressed` is called."""
    return sketches[0] if len(sketches) == 1 else _joined(sketches)


def read_sketch(stored: dict[str, Any], low: float, high: float) -> QuantileSketch:
    """A sketch from its JSON form."""
    values = [float(value) for value, _ in stored["values"]]
    weights = [float(rows) for _, rows in stored["values"]]
    pure = [True] * len(values)
    for rows, *means in stored["cells"]:
        values.extend(float(mean) for mean in means)
        weights.extend([float(rows) / len(means)] * len(means))
        pure.extend([False] * len(means))
    sketch = QuantileSketch(
        np.asarray(values, dtype=np.float64),
        np.asarray(weights, dtype=np.float64),
        np.asarray(pure, dtype=np.bool_),
        low,
        high,
    )
    return _joined([sketch])


def _distinct(ordered: NDArray[Any]) -> NDArray[Any]:
    """The different values of an ordered array."""
    first = np.concatenate([[True], ordered[1:] != ordered[:-1]])[: len(ordered)]
    return np.asarray(ordered[first])


def _sketch(values: Floats, weights: Floats, pure: Flags) -> QuantileSketch:
    return QuantileSketch(values, weights, pure, float(values[0]), float(values[-1]))


def _joined(sketches: Sequence[QuantileSketch]) -> QuantileSketch:
    """All points in order; pure points of one value become one."""
    values = np.concatenate([sketch.values for sketch in sketches])
    weights = np.concatenate([sketch.weights for sketch in sketches])
    pure = np.concatenate([sketch.pure for sketch in sketches])
    order = np.lexsort((pure, values))
    values, weights, pure = values[order], weights[order], pure[order]
    same = pure[1:] & pure[:-1] & (values[1:] == values[:-1])
    starts = np.flatnonzero(np.concatenate([[True], ~same]))
    return QuantileSketch(
        values[starts],
        np.add.reduceat(weights, starts),
        pure[starts],
        min(sketch.low for sketch in sketches),
        max(sketch.high for sketch in sketches),
    )


def _compress(sketch: QuantileSketch, resolution: int) -> QuantileSketch:
    """Heavy values stay points of their own; what lies between is dealt out to equal cells."""
    values, weights, pure = sketch.values, sketch.weights, sketch.pure
    after = np.cumsum(weights)
    total = after[-1]
    heavy = pure & (weights * resolution >= total)
    firsts = np.flatnonzero(np.concatenate([[True], heavy[1:] | heavy[:-1]]))
    mass = np.add.reduceat(weights, firsts)
    cells = np.where(heavy[firsts], 1, np.ceil(mass * resolution / total)).astype(np.int64)
    begin = np.concatenate([[0.0], after])[firsts]
    # The cells' borders, counted in rows from the smallest value.
    number = np.arange(int(cells.sum()), dtype=np.float64) - np.repeat(
        np.cumsum(cells) - cells, cells
    )
    inner = np.repeat(begin, cells) + np.repeat(mass / cells, cells) * number
    tails = _tails(total / resolution)
    borders = _distinct(np.sort(np.concatenate([inner, tails, total - tails])))
    # A point that straddles a border gives a part to each side.
    cuts = _distinct(np.sort(np.concatenate([[0.0], after, borders])))
    middle = (cuts[1:] + cuts[:-1]) / 2
    point = np.minimum(np.searchsorted(after, middle, side="right"), len(values) - 1)
    cell = np.searchsorted(borders, middle, side="right") - 1
    starts = np.flatnonzero(np.concatenate([[True], cell[1:] != cell[:-1]]))
    inside = np.diff(cuts)
    rows = np.add.reduceat(inside, starts)
    lengths = np.diff(np.append(starts, len(cell)))
    ends = starts + lengths - 1
    first, last = values[point[starts]], values[point[ends]]
    # Differences from the cell's first value: sums of large numbers would lose the small ones.
    offsets = (values[point] / 2 - np.repeat(first, lengths) / 2) * (
        inside / np.repeat(rows, lengths)
    )
    means = np.clip(first + 2 * np.add.reduceat(offsets, starts), first, last)
    alone = np.logical_and.reduceat(pure[point], starts) & (first == last)
    share = np.diff(np.append(borders, total))[cell[starts]]
    return _joined([QuantileSketch(means, share, alone, sketch.low, sketch.high)])


def _tails(size: float) -> Floats:
    """Borders that halve the outermost cell again and again, down to one row: tails are long."""
    steps = int(np.log2(size)) if size >= 2 else 0
    return np.asarray(np.floor(size / 2.0 ** np.arange(1, steps + 1)))


def _rounded(sketch: QuantileSketch) -> Floats:
    """Means with as many digits as they deserve; pure values stay as they are."""
    values = sketch.values
    if len(values) < 3:
        return values
    padded = np.concatenate([values[:1], values, values[-1:]])
    gaps = np.maximum(padded[2:] / 2 - padded[:-2] / 2, np.abs(values) * 1e-15 + 1e-290)
    digits = np.ceil(np.log10(20 / gaps))
    digits[:_TAIL] += 2
    digits[-_TAIL:] += 2
    digits = np.clip(digits, -290, 290)
    power = 10.0 ** np.abs(digits)
    with np.errstate(over="ignore", invalid="ignore"):
        rounded = np.where(
            digits >= 0, np.rint(values * power) / power, np.rint(values / power) * power
        )
    usable = ~sketch.pure & np.isfinite(rounded)
    return np.asarray(np.clip(np.where(usable, rounded, values), sketch.low, sketch.high))


def _short(value: float) -> float | int:
    """A whole number without its `.0`."""
    return int(value) if abs(value) < _EXACT_INTEGERS and value.is_integer() else value
