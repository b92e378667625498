"""A column of numbers: rows, nulls, smallest and largest, mean and spread, and its sketch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np

from ferryman.profiles.quantile_sketch import (
    Floats,
    QuantileSketch,
    merge_sketches,
    read_sketch,
    resolution_for,
)
from ferryman.profiles.value_counter import BLOCK, ValueCounter

# Outside of these the square of a double leaves its range.
_LARGE, _SMALL = 1e150, 1e-150
_THIN = 0.001  # share of rows that are no bin of their own
_FAR = 1e3  # squares of an offset beyond so many variances cost more than three digits


@dataclass(frozen=True)
class Moments:
    """How many values, their mean and their standard deviation (that of all, not of a sample)."""

    count: int
    mean: float
    std: float


@dataclass(frozen=True)
class NumberProfile:
    """What is known of a column of numbers; `nulls` counts NaN and infinities too.

    Smallest and largest value (of integers exact at any size), moments and sketch are None where
    the column has no value. `small`: the sketch has the size in which it is stored.
    """

    kind: Literal["integer", "number"]
    count: int
    nulls: int
    low: float | int | None = None
    high: float | int | None = None
    mean: float | None = None
    std: float | None = None
    sketch: QuantileSketch | None = None
    small: bool = field(default=False, compare=False)

    @property
    def rows(self) -> int:
        """All rows, with and without a value."""
        return self.count + self.nulls

    @property
    def moments(self) -> Moments | None:
        """The moments, where there is a value."""
        if self.mean is None or self.std is None:
            return None
        return Moments(self.count, self.mean, self.std)

    def bins(self, count: int) -> tuple[Floats, Floats]:
        """Edges and rows of bins, each with its lower edge and the last with its upper edge too.

        Bins of about equally many rows, at most `count`; a value that has as many rows as a bin has
        one to itself. A column of one value has one edge, one without values none, and neither has
        bins.
        """
        if self.sketch is None:
            return np.zeros(0), np.zeros(0)
        edges = np.unique(self.sketch.quantiles(np.linspace(0, 1, count + 1)))
        if len(edges) > 1:
            edges = _with_own_bins(edges, self.sketch, count)
        below = self.sketch.shares_below(edges, included=False)
        below[-1] = 1.0
        return edges, np.diff(below) * self.count

    @cached_property
    def stored(self) -> "NumberProfile":
        """The same with its sketch in the size in which it is stored."""
        if self.sketch is None or self.small:
            return self
        return replace(self, sketch=self.sketch.compressed(resolution_for(self.count)), small=True)

    def as_json(self) -> dict[str, Any]:
        """{type, count, nulls, min, max, mean, std, values, cells}; None where it has no value."""
        small = self.stored.sketch
        return {
            "type": self.kind,
            "count": self.count,
            "nulls": self.nulls,
            "min": self.low,
            "max": self.high,
            "mean": self.mean,
            "std": self.std,
            **(small.as_json() if small else {"values": [], "cells": []}),
        }


def _with_own_bins(edges: Floats, sketch: QuantileSketch, count: int) -> Floats:
    """Edges with one before and one behind each heavy value, where other values lie behind it."""
    heavy = sketch.values[sketch.pure & (sketch.weights * count >= sketch.total)]
    # What is heavy ends at the next number that there is.
    ends = np.nextafter(heavy, np.inf)
    edges = np.unique(np.concatenate([edges, heavy, ends]))
    rows = np.diff(sketch.shares_below(edges, included=False), append=1.0)
    last = edges >= sketch.high
    return np.asarray(edges[~np.isin(edges, ends) | (rows >= _THIN) | last])


@dataclass
class NumberCounter:
    """Profiles a stream of numbers in one pass."""

    kind: Literal["integer", "number"]
    _nulls: int = 0
    _low: float | int | None = None
    _high: float | int | None = None
    _parts: list[Moments] = field(default_factory=list)
    _block: Any = None
    _waiting: int = 0
    _values: ValueCounter = field(default_factory=ValueCounter)
    _apart: Floats | None = None

    def add(self, values: Any, nulls: int = 0) -> None:
        """Take a numpy array of integers or floats; NaN and infinities count as nulls."""
        self._nulls += nulls
        # Blocks are cut by rows alone, so that it does not matter in which batches rows come.
        if self._waiting:
            missing = BLOCK - self._waiting
            self._wait(values[:missing])
            if self._waiting < BLOCK:
                return
            self._add_waiting()
            values = values[missing:]
        whole = len(values) - len(values) % BLOCK
        for start in range(0, whole, BLOCK):
            self._add_block(values[start : start + BLOCK])
        if whole < len(values):
            self._wait(values[whole:])

    def _wait(self, values: Any) -> None:
        if self._block is None:
            self._block = np.empty(BLOCK, dtype=values.dtype)
        elif self._block.dtype != values.dtype:
            self._block = self._block.astype(np.promote_types(self._block.dtype, values.dtype))
        end = self._waiting + len(values)
        self._block[self._waiting : end] = values
        self._waiting = end

    def _add_waiting(self) -> None:
        block, self._waiting = self._block[: self._waiting], 0
        self._add_block(block)

    def _add_block(self, block: Any) -> None:
        if block.dtype.kind == "f":
            numbers = block.astype(np.float64, copy=False)
            low, high = numbers.min(), numbers.max()
            if not (np.isfinite(low) and np.isfinite(high)):
                finite = numbers[np.isfinite(numbers)]
                self._nulls += len(numbers) - len(finite)
                numbers = finite
                if not len(numbers):
                    return
                low, high = numbers.min(), numbers.max()
        else:
            low, high = block.min(), block.max()
            numbers = block.astype(np.float64)
        self._low = low.item() if self._low is None else min(self._low, low.item())
        self._high = high.item() if self._high is None else max(self._high, high.item())
        if self._apart is None or len(self._apart) < len(numbers):
            self._apart = np.empty(len(numbers))
        origin = self._parts[0].mean if self._parts else float(numbers[0])
        self._parts.append(_moments(numbers, float(low), float(high), origin, self._apart))
        if len(self._parts) == 256:
            self._parts = [merge_moments(self._parts)]
        self._values.add(numbers, float(low), float(high))

    def profile(self) -> NumberProfile:
        """What was seen so far."""
        if self._waiting:
            self._add_waiting()
        sketch = self._values.sketch()
        if sketch is None:
            return NumberProfile(self.kind, 0, self._nulls)
        moments = merge_moments(self._parts)
        return NumberProfile(
            self.kind,
            moments.count,
            self._nulls,
            low=self._low,
            high=self._high,
            mean=moments.mean,
            std=moments.std,
            sketch=sketch,
        )


def merge_numbers(profiles: Sequence[NumberProfile]) -> NumberProfile:
    """The profile of the rows of all profiles (at least one) together."""
    full = [profile for profile in profiles if profile.count]
    nulls = sum(profile.nulls for profile in profiles)
    kind = profiles[-1].kind
    if not full:
        return NumberProfile(kind, 0, nulls)
    moments = merge_moments([part for one in full if (part := one.moments) is not None])
    return NumberProfile(
        kind,
        moments.count,
        nulls,
        low=min(one.low for one in full if one.low is not None),
        high=max(one.high for one in full if one.high is not None),
        mean=moments.mean,
        std=moments.std,
        sketch=merge_sketches([one.sketch for one in full if one.sketch is not None]),
    )


def read_number(stored: Mapping[str, Any]) -> NumberProfile:
    """A profile from its JSON form."""
    low, high = stored["min"], stored["max"]
    count = int(stored["count"])
    return NumberProfile(
        stored["type"],
        count,
        int(stored["nulls"]),
        low=low,
        high=high,
        mean=stored["mean"],
        std=stored["std"],
        sketch=read_sketch(dict(stored), float(low), float(high)) if count else None,
        small=True,
    )


def merge_moments(parts: Sequence[Moments]) -> Moments:
    """Moments of all values together, stable for large offsets (Chan, Golub and LeVeque, 1983)."""
    if len(parts) == 1:
        return parts[0]
    counts = np.asarray([part.count for part in parts], dtype=np.float64)
    means = np.asarray([part.mean for part in parts])
    deviations = np.asarray([part.std for part in parts])
    share = counts / counts.sum()
    first = means[0]
    mean = float(first + 2 * np.sum(share * (means / 2 - first / 2)))
    apart = means / 2 - mean / 2
    unit = float(max(np.abs(apart).max(), deviations.max()))
    if unit == 0:
        return Moments(int(counts.sum()), mean, 0.0)
    squares = np.sum(share * ((deviations / unit) ** 2 + 4 * (apart / unit) ** 2))
    return Moments(int(counts.sum()), mean, unit * float(np.sqrt(squares)))


def _moments(  # noqa: PLR0913  - what a block is, and where to work
    values: Floats, low: float, high: float, origin: float, room: Floats, *, near: bool = False
) -> Moments:
    """Moments by the squares of distances from an origin, which had best lie among the values.

    `room` is memory to work in, at least as long as the values.
    """
    count = len(values)
    if low == high:
        return Moments(count, low, 0.0)
    unit = max(abs(low), abs(high))
    if unit > _LARGE or unit < _SMALL:
        scaled = _moments(values / unit, low / unit, high / unit, origin / unit, room)
        return Moments(count, unit * scaled.mean, unit * scaled.std)
    apart = np.subtract(values, origin, out=room[:count])
    offset = float(apart.sum()) / count
    np.square(apart, out=apart)
    variance = float(apart.sum()) / count - offset * offset
    if not near and offset * offset > _FAR * variance:
        # The squares have lost digits: once more, from the mean itself.
        return _moments(values, low, high, origin + offset, room, near=True)
    return Moments(count, origin + offset, float(np.sqrt(max(variance, 0.0))))
