"""How often a value fell between bounds, as Prometheus' histograms tell it."""

from bisect import bisect_left
from collections.abc import Sequence


class Distribution:
    """How often a value fell between bounds, and their sum."""

    __slots__ = ("_bounds", "_counts", "_sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """Count one value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def buckets(self) -> tuple[list[tuple[str, float]], float]:
        """(upper bound, count up to it) in order, the last one "+Inf"; and the sum."""
        total, found = 0, []
        for bound, count in zip((*map(float, self._bounds), "+Inf"), self._counts, strict=True):
            total += count
            found.append((str(bound), float(total)))
        return found, self._sum
