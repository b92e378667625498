"""Counts a stream of numbers into a quantile sketch, for a fraction of what sorting them costs.

The first rows are sorted and give a ruler: 16,384 marks, even or logarithmic, and at each mark the
one exact value that is frequent there, if any. Later blocks are only counted along the ruler. Each
block is checked: where a mark holds too many rows of different values, or too many lie outside,
that block is sorted instead and gives the next ruler. So the error bound holds for any stream.
"""

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from ferryman.profiles.quantile_sketch import (
    RESOLUTION,
    Floats,
    QuantileSketch,
    merge_sketches,
    sketch_of_sorted,
)

BLOCK = 65_536  # rows that are worked on at a time: they stay in the processor's cache
_HEAD = 16_384
_MARKS = 16_384
_CELLS = 2_048  # of each sorted block
_PENDING = 64  # sketches of one level that wait to be merged; the memory of a stream
_OUTSIDE = (0.002, 0.01, 0.04)  # shares of rows that a ruler leaves outside at either end
_ROOMY = 8 * 0.6 / RESOLUTION  # share of rows at eight marks in a row that is far from the bound
_CROWD = 32  # rows that a mark may always hold: 1/1000 of the least that uses a ruler

Places = NDArray[np.int64]


@dataclass(frozen=True)
class _Ruler:
    """Where a value belongs: at (value - start) * scale; a logarithmic one takes a value's bits.

    The bits of positive doubles, read as integers, rise as their logarithms do. The outermost marks
    take all that lies outside. `exact` is the frequent value of each mark, None where there is
    none at all.
    """

    logarithmic: bool
    start: float
    scale: float
    exact: Floats | None = None

    def places(self, values: Floats, room: "_Room") -> Places:
        steps, places = room.steps[: len(values)], room.places[: len(values)]
        if self.logarithmic:
            np.copyto(steps, values.view(np.int64), casting="unsafe")
            np.subtract(steps, self.start, out=steps)
        else:
            np.subtract(values, self.start, out=steps)
        np.multiply(steps, self.scale, out=steps)
        np.clip(steps, 0.0, _MARKS - 1.0, out=steps)
        np.copyto(places, steps, casting="unsafe")
        return places

    def middles(self) -> Floats:
        middles = np.asarray(self.start + (np.arange(_MARKS) + 0.5) / self.scale, dtype=np.float64)
        return middles.astype(np.int64).view(np.float64) if self.logarithmic else middles


class _Room:
    """Memory that a block's places are worked out in: taking it anew costs as much as counting."""

    def __init__(self, rows: int) -> None:
        self.steps = np.empty(rows, dtype=np.float64)
        self.places = np.empty(rows, dtype=np.int64)


@dataclass
class ValueCounter:
    """Takes finite numbers block by block; `sketch` tells what was seen so far."""

    _levels: list[list[QuantileSketch]] = field(default_factory=list)
    _ruler: _Ruler | None = None
    _room: _Room | None = None
    _mixed: Places = field(default_factory=lambda: np.zeros(_MARKS, dtype=np.int64))
    _alone: Places = field(default_factory=lambda: np.zeros(_MARKS, dtype=np.int64))
    _counted: int = 0
    _fitted: int = 0
    _strange: list[Floats] = field(default_factory=list)
    _low: float = np.inf
    _high: float = -np.inf

    def add(self, values: Floats, low: float, high: float) -> None:
        """Count a block of at most BLOCK finite numbers, all from low to high."""
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
        self._sort_strange()
        waiting = [sketch for level in self._levels for sketch in level]
        return merge_sketches(waiting) if waiting else None

    def _sort(self, values: Floats) -> None:
        if not len(values):
            return
        sketch = sketch_of_sorted(np.sort(values), _CELLS)
        self._keep(sketch)
        if len(values) >= _HEAD:
            self._ruler, self._fitted = _fit(sketch), len(values)

    def _sort_strange(self) -> None:
        if self._strange:
            self._keep(sketch_of_sorted(np.sort(np.concatenate(self._strange)), _CELLS))
            self._strange = []

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
        self._room = self._room or _Room(BLOCK)
        places = ruler.places(values, self._room)
        mixed, alone, matched = _tally(places, values, ruler.exact)
        outside = int(mixed[0] + mixed[-1])
        if outside > len(values) // 4:
            return False
        mixed[0] = mixed[-1] = 0
        mixed += self._mixed
        counted = self._counted + len(values)
        if mixed.max() > max(_CROWD, (counted + self._fitted) // RESOLUTION):
            return False
        self._mixed, self._counted = mixed, counted
        if alone is not None:
            self._alone += alone
        if outside:
            # The inner marks are 1 to _MARKS - 2: what is outside wraps around to beyond them.
            far = np.subtract(places, 1, out=places).view(np.uint64) >= _MARKS - 2
            self._strange.append(values[far if matched is None else far & ~matched])
            if sum(map(len, self._strange)) >= _HEAD:
                self._sort_strange()
        return True

    def _flush(self) -> None:
        """What was counted along the ruler becomes a sketch."""
        ruler = self._ruler
        if ruler is None or not self._counted:
            return
        mixed, alone = np.flatnonzero(self._mixed), np.flatnonzero(self._alone)
        values, weights = ruler.middles()[mixed], self._mixed[mixed]
        if ruler.exact is not None:
            values = np.concatenate([values, ruler.exact[alone]])
            weights = np.concatenate([weights, self._alone[alone]])
        pure = np.arange(len(values)) >= len(mixed)
        values = np.clip(values, self._low, self._high)
        order = np.argsort(values, kind="stable")
        if len(values):
            self._keep(
                QuantileSketch(
                    values[order],
                    weights[order].astype(np.float64),
                    pure[order],
                    self._low,
                    self._high,
                )
            )
        self._mixed, self._alone = np.zeros_like(self._mixed), np.zeros_like(self._alone)
        # The rows that it was fitted on count once.
        self._counted, self._fitted, self._low, self._high = 0, 0, np.inf, -np.inf


def _tally(
    places: Places, values: Floats, exact: Floats | None
) -> tuple[Places, Places | None, NDArray[np.bool_] | None]:
    """Rows at each mark that are not its exact value, those that are, and which rows are."""
    counts = np.bincount(places, minlength=_MARKS)
    if exact is None:
        return counts, None, None
    matched = exact[places] == values
    found = int(np.count_nonzero(matched))
    # The fewer are counted, the others are the rest.
    if 2 * found > len(values):
        mixed = np.bincount(places[~matched], minlength=_MARKS)
        return mixed, counts - mixed, matched
    alone = np.bincount(places[matched], minlength=_MARKS)
    return counts - alone, alone, matched


def _fit(sketch: QuantileSketch) -> _Ruler:
    """The ruler that has the fewest rows of different values at one mark.

    Even or logarithmic; where either crowds nearly as many rows as a mark may hold, a shorter one
    that leaves more rows outside, to be sorted.
    """
    best, least = None, np.inf
    for outside in _OUTSIDE:
        for ruler in _rulers(sketch, outside):
            crowd = _crowd(ruler, sketch)
            if best is None or crowd < least:
                best, least = ruler, crowd
        if best is not None and least < _ROOMY * sketch.total:
            return best
    return best or _spanning(0.0, 0.0, logarithmic=False)


def _rulers(sketch: QuantileSketch, outside: float) -> list[_Ruler]:
    """An even ruler, and for what is not negative a logarithmic one, with their exact values."""
    ends = np.asarray([outside, 1 - outside])
    low, high = (float(value) for value in sketch.quantiles(ends))
    rulers = [_spanning(low, high, logarithmic=False)]
    positive = sketch.values[sketch.values > 0]
    if sketch.low >= 0 and len(positive):
        bits = np.asarray([max(low, positive[0]), max(high, positive[0])]).view(np.int64)
        rulers.append(_spanning(float(bits[0]), float(bits[1]), logarithmic=True))
    return [_with_exact(ruler, sketch) for ruler in rulers]


def _spanning(low: float, high: float, *, logarithmic: bool) -> _Ruler:
    """A ruler whose inner marks reach from low to high, with no exact values yet."""
    width = high - low
    scale = (_MARKS - 4) / width if width > 0 else 1.0
    if not (np.isfinite(width) and np.isfinite(scale)):
        scale = 1.0  # all rows will be outside, and sorted
    return _Ruler(logarithmic, low - 2 / scale, scale)


def _with_exact(ruler: _Ruler, sketch: QuantileSketch) -> _Ruler:
    """The ruler with the values that came more than once: the heaviest at each mark."""
    pure = np.flatnonzero(sketch.pure & (sketch.weights > 1))
    if not len(pure):
        return ruler
    pure = pure[np.argsort(sketch.weights[pure], kind="stable")]
    exact = np.full(_MARKS, np.nan)
    # The last assignment to a mark stays: the heaviest value.
    exact[ruler.places(sketch.values[pure], _Room(len(pure)))] = sketch.values[pure]
    return replace(ruler, exact=exact)


def _crowd(ruler: _Ruler, sketch: QuantileSketch) -> float:
    """The most rows at eight marks in a row that are not these marks' exact values."""
    places = ruler.places(sketch.values, _Room(len(sketch.values)))
    loose = (places > 0) & (places < _MARKS - 1)
    if ruler.exact is not None:
        loose &= ruler.exact[places] != sketch.values
    return float(np.bincount(places[loose] // 8, sketch.weights[loose]).max(initial=0.0))
