"""How often a value fell between bounds, as Prometheus' histograms tell it."""

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate


class Distribution:
    """How often a value fell between bounds, and their sum."""

    __slots__ = ("_bounds", "_counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Count one value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self.sum += value

    def cumulative(self) -> list[int]:
        """How many values there are up to each bound, and at last how many in all."""
        return list(accumulate(self._counts))

    def buckets(self) -> tuple[list[tuple[str, float]], float]:
        """(upper bound, count up to it) in order, the last one "+Inf"; and the sum."""
        bounds = (*map(str, map(float, self._bounds)), "+Inf")
        return list(zip(bounds, map(float, self.cumulative()), strict=True)), self.sum
