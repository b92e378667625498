"""How far apart two columns lie, told from their profiles alone."""

import numpy as np

from ferryman.profiles.category_profile import CategoryProfile
from ferryman.profiles.quantile_sketch import Floats, QuantileSketch


def kolmogorov_distance(one: QuantileSketch, other: QuantileSketch) -> float:
    """The largest difference between the shares of rows at or below any one value, 0 to 1."""
    return distances(one, other)[0]


def wasserstein_distance(one: QuantileSketch, other: QuantileSketch) -> float:
    """How far a row must be moved on average to make one column the other, in its own unit."""
    return distances(one, other)[1]


def distances(one: QuantileSketch, other: QuantileSketch) -> tuple[float, float]:
    """Both for the price of one: Kolmogorov's, and Wasserstein's."""
    values = _places(one, other)
    below = one.shares_below(values, included=False) - other.shares_below(values, included=False)
    upto = one.shares_below(values) - other.shares_below(values)
    begin, end = upto[:-1], below[1:]
    # Between two places both curves are straight; where they cross, two triangles are left.
    whole = np.abs(begin + end) / 2
    size = np.abs(begin) + np.abs(end)
    crossed = np.divide(begin**2 + end**2, 2 * size, out=np.zeros(len(size)), where=size > 0)
    area = np.where(begin * end < 0, crossed, whole)
    moved = 2 * float(np.sum(area * (values[1:] / 2 - values[:-1] / 2)))
    return float(max(np.abs(below).max(), np.abs(upto).max())), moved


def total_variation(one: CategoryProfile, other: CategoryProfile) -> float:
    """Half the sum of differences between shares of categories: the share that would have to move.

    Values beyond those kept by name count as one category.
    """
    if not (one.count and other.count):
        return 0.0
    names = one.top.keys() | other.top.keys()
    shares = [one.top.get(n, 0) / one.count - other.top.get(n, 0) / other.count for n in names]
    shares.append(one.other / one.count - other.other / other.count)
    return float(np.abs(shares).sum() / 2)


def _places(one: QuantileSketch, other: QuantileSketch) -> Floats:
    return np.unique(np.concatenate([one.places, other.places]))
