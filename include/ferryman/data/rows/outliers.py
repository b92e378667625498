"""Values that lie too far from the rest of their group."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ferryman.spec.sources import OutlierSpec

_MAD_TO_STANDARD_DEVIATION = 1.4826022185056018  # 1 / the normal distribution's third quartile


@dataclass(frozen=True)
class Outliers:
    """Positions of outliers, ascending, and for each the fence that it passed."""

    rows: Any
    fences: Any


def find_outliers(values: Any, judged: Any, groups: Any, spec: OutlierSpec) -> Outliers:
    """The outliers among the judged values (numpy floats), each against its own group.

    The fences of a group are
    - iqr: the quartiles (linearly interpolated), less and plus factor x their distance;
    - mad: the median, less and plus factor x 1.4826 x the median absolute deviation;
    - zscore: the mean, less and plus factor x the standard deviation (of the population).
    A value on a fence is no outlier. A group with fewer than `min_rows` values, or whose spread is
    zero, is not judged.
    """
    rows, fences = [], []
    for positions in _grouped(np.flatnonzero(judged), groups):
        found = values[positions]
        if len(found) < spec.min_rows:
            continue
        middle, spread = _SPREADS[spec.method](found)
        reach = spec.factor * spread
        if not spread > 0 or not np.isfinite(reach):
            continue
        low, high = middle[0] - reach, middle[1] + reach
        outside = (found < low) | (found > high)
        rows.append(positions[outside])
        fences.append(np.where(found[outside] < low, low, high))
    if not rows:
        return Outliers(np.empty(0, np.int64), np.empty(0))
    everywhere = np.concatenate(rows)
    order = np.argsort(everywhere, kind="stable")
    return Outliers(everywhere[order], np.concatenate(fences)[order])


def _grouped(positions: Any, groups: Any) -> Iterator[Any]:
    """The positions of each group, in order."""
    order = np.argsort(groups[positions], kind="stable")
    positions = positions[order]
    edges = np.flatnonzero(np.diff(groups[positions])) + 1
    yield from np.split(positions, edges)


Spread = tuple[tuple[float, float], float]


def _quartiles(values: Any) -> Spread:
    low, high = (float(edge) for edge in np.quantile(values, [0.25, 0.75]))
    return (low, high), high - low


def _median(values: Any) -> Spread:
    middle = float(np.median(values))
    spread = float(np.median(np.abs(values - middle))) * _MAD_TO_STANDARD_DEVIATION
    return (middle, middle), spread


def _mean(values: Any) -> Spread:
    if values.min() == values.max():  # a sum of equal values may be off by a rounding
        return (float(values[0]), float(values[0])), 0.0
    middle = float(values.mean())
    return (middle, middle), float(values.std())


_SPREADS: Mapping[Literal["iqr", "mad", "zscore"], Callable[[Any], Spread]] = {
    "iqr": _quartiles,
    "mad": _median,
    "zscore": _mean,
}
