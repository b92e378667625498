"""Counts a stream of numbers into a quantile sketch, for a fraction of what sorting them costs.

The first rows are sorted and give a ruler: 16,384 marks, even or logarithmic, and at each mark the
one exact value that is frequent there, if any. Later blocks are only counted along the ruler. Each
block is checked: where a mark holds too many rows of different values, or too many lie outside,
that block is sorted instead and gives the next ruler. So the error bound holds for any stream.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ferryman.profiles.quantile_sketch import (
    RESOLUTION,
    Floats,
    QuantileSketch,
    merge_sketches,
    sketch_of_sorted,
)

BLOCK = 32_768  # rows that are worked on at a time: they stay in the processor's cache
_HEAD = 16_384
_MARKS = 16_384
_CELLS = 2_048  # of each sorted block
_PENDING = 64  # sketches of one level that wait to be merged; the memory of a stream
_CROWD = 48  # rows that a mark may always hold: 1/1000 of the least that uses a ruler

Places = NDArray[np.int64]


@dataclass(frozen=True)
class _Ruler:
    """Where a value belongs: at (value - start) * scale; a logarithmic one takes a value's bits.

    The bits of positive doubles, read as integers, rise as their logarithms do. The outermost marks
    take all that lies outside. `exact` is the frequent value of each mark.
    """

    logarithmic: bool
    start: float
    scale: float
    exact: Floats

    def places(self, values: Floats) -> Places:
        if self.logarithmic:
            steps = values.view(np.int64).astype(np.float64)
            steps -= self.start
        else:
            steps = values - self.start
        steps *= self.scale
        np.maximum(steps, 0.0, out=steps)
        np.minimum(steps, _MARKS - 1.0, out=steps)
        return steps.astype(np.int64)

    def middles(self) -> Floats:
        middles = np.asarray(self.start + (np.arange(_MARKS) + 0.5) / self.scale, dtype=np.float64)
        return middles.astype(np.int64).view(np.float64) if self.logarithmic else middles


@dataclass
class ValueCounter:
    """Takes finite numbers block by block; `sketch` tells what was seen so far."""

    _levels: list[list[QuantileSketch]] = field(default_factory=list)
    _ruler: _Ruler | None = None
    _counts: Places = field(default_factory=lambda: np.zeros(2 * _MARKS, dtype=np.int64))
    _counted: int = 0
    _low: float = np.inf
    _high: float = -np.inf

    def add(self, values: Floats, low: float, high: float) -> None:
        """Count a block of finite numbers, at most about BLOCK of them, all from low to high."""
        if self._ruler is None or len(values) < _HEAD:
            self._sort(values[:_HEAD])
            values = values[_HEAD:]
        if not len(values):
            return
        if self._count(values):
            self._low, self._high = min(self._low, low), max(self._high, high)
        else:
            self._flush()
            self._sort(values)

    def sketch(self) -> QuantileSketch | None:
        """The sketch of all rows so far; None where there were none."""
        self._flush()
        waiting = [sketch for level in self._levels for sketch in level]
        return merge_sketches(waiting) if waiting else None

    def _sort(self, values: Floats) -> None:
        if not len(values):
            return
        sketch = sketch_of_sorted(np.sort(values), _CELLS)
        self._keep(sketch)
        if len(values) >= _HEAD:
            self._ruler = _fit(sketch)

    def _keep(self, sketch: QuantileSketch, level: int = 0) -> None:
        """Let a sketch wait; a full level is merged into one sketch of the next.

        So a row goes through few merges that make room: one for each factor of _PENDING.
        """
        if level == len(self._levels):
            self._levels.append([])
        self._levels[level].append(sketch)
        if len(self._levels[level]) == _PENDING:
            merged = merge_sketches(self._levels[level]).compressed(4 * _CELLS)
            self._levels[level] = []
            self._keep(merged, level + 1)

    def _count(self, values: Floats) -> bool:
        """Count along the ruler; False, and nothing is counted, where it does not fit."""
        ruler = self._ruler
        if ruler is None:
            return False
        places = ruler.places(values)
        matched = ruler.exact[places] == values
        counts = np.bincount(places + matched * _MARKS, minlength=2 * _MARKS)
        outside = int(counts[0] + counts[_MARKS - 1])
        if outside > len(values) // 4:
            return False
        counts[0] = counts[_MARKS - 1] = 0
        counts += self._counts
        counted = self._counted + len(values)
        if counts[:_MARKS].max() > max(_CROWD, counted // RESOLUTION):
            return False
        self._counts, self._counted = counts, counted
        if outside:
            strange = ((places == 0) | (places == _MARKS - 1)) & ~matched
            self._keep(sketch_of_sorted(np.sort(values[strange]), _CELLS))
        return True

    def _flush(self) -> None:
        """What was counted along the ruler becomes a sketch."""
        ruler, counts = self._ruler, self._counts
        if ruler is None or not counts.any():
            return
        mixed, alone = (np.flatnonzero(part) for part in (counts[:_MARKS], counts[_MARKS:]))
        values = np.concatenate([ruler.middles()[mixed], ruler.exact[alone]])
        weights = np.concatenate([counts[:_MARKS][mixed], counts[_MARKS:][alone]])
        pure = np.arange(len(values)) >= len(mixed)
        values = np.clip(values, self._low, self._high)
        order = np.argsort(values, kind="stable")
        self._keep(
            QuantileSketch(
                values[order],
                weights[order].astype(np.float64),
                pure[order],
                self._low,
                self._high,
            )
        )
        self._counts, self._counted = np.zeros_like(counts), 0
        self._low, self._high = np.inf, -np.inf


def _fit(sketch: QuantileSketch) -> _Ruler:
    """The ruler, even or logarithmic, that has the fewest rows of different values at one mark."""
    low, high = (float(value) for value in sketch.quantiles(np.asarray([0.002, 0.998])))
    rulers = [_spanning(low, high, logarithmic=False)]
    positive = sketch.values[sketch.values > 0]
    if sketch.low >= 0 and len(positive):
        ends = np.asarray([max(low, positive[0]), max(high, positive[0])]).view(np.int64)
        rulers.append(_spanning(float(ends[0]), float(ends[1]), logarithmic=True))
    for ruler in rulers:
        pure = np.flatnonzero(sketch.pure)
        pure = pure[np.argsort(sketch.weights[pure], kind="stable")]
        # The last assignment to a mark stays: the heaviest value.
        ruler.exact[ruler.places(sketch.values[pure])] = sketch.values[pure]
    return min(rulers, key=lambda ruler: _crowd(ruler, sketch))


def _spanning(low: float, high: float, *, logarithmic: bool) -> _Ruler:
    """A ruler whose inner marks reach from low to high, with no exact values yet."""
    width = high - low
    scale = (_MARKS - 4) / width if width > 0 else 1.0
    if not (np.isfinite(width) and np.isfinite(scale)):
        scale = 1.0  # all rows will be outside, and sorted
    return _Ruler(logarithmic, low - 2 / scale, scale, np.full(_MARKS, np.nan))


def _crowd(ruler: _Ruler, sketch: QuantileSketch) -> float:
    """The most rows at eight marks in a row that are not these marks' exact values."""
    places = ruler.places(sketch.values)
    loose = ruler.exact[places] != sketch.values
    if not loose.any():
        return 0.0
    return float(np.bincount(places[loose] // 8, sketch.weights[loose]).max())
