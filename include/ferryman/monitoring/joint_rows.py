"""How the columns of a row hang together, as numbers: the product of every two columns.

Each number is replaced by the normal score of its rank among the rows of its own day, so that no
outlier, no unit and no shift of a column matters; a category gives indicators of its most frequent
values, less the share that they have on that day. What is left of a column says nothing by itself.
The product of two of them says how they depend on each other.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy import special, stats

from ferryman.spec.data import FeatureSpec

Floats = NDArray[np.float64]
Places = NDArray[np.int64]
_VALUES = 3  # of a category that have an indicator
_RARE = 0.02  # share of rows below which an indicator says nothing
_EXPECTED = 5  # rows of a day in which two values meet, for their product to have a normal mean
_TAILS = 20.0  # the fourth moment of a product of numbers is 9 to 15
_PAIRED = 32  # columns of which products are made: 496 of them


@dataclass(frozen=True)
class JointRows:
    """Products [rows, pairs] of mean 0 and variance 1, and the two columns that each is of."""

    products: Floats
    pairs: tuple[tuple[str, str], ...]


def joint_rows(table: Any, days: Places, columns: Mapping[str, FeatureSpec]) -> JointRows | None:
    """The products of the declared columns that a table has; None where there is none to make.

    days: each row's day, from 0. Numbers come first where there are more columns than are paired.
    """
    parts: list[tuple[str, Floats]] = []
    for name, kind in sorted(columns.items(), key=lambda item: item[1].type == "category"):
        if name in table.schema.names:
            made = _indicators if kind.type == "category" else _scores
            parts += [(name, _standard(values)) for values in made(table[name], days)]
    parts = [(name, values) for name, values in parts if values.any()][:_PAIRED]
    pairs = [
        (one, other)
        for one, other in combinations(range(len(parts)), 2)
        if parts[one][0] != parts[other][0]
    ]
    if not pairs:
        return None
    singles = np.column_stack([values for _, values in parts])
    left, right = np.asarray(pairs).T
    means, spreads, tails = (moment[left, right] for moment in _moments(singles))
    # The mean over a day of what a handful of rows make up follows no normal law.
    bound = max(_TAILS, float(np.median(np.bincount(days))) / _EXPECTED)
    even = np.flatnonzero((spreads > 1e-6) & (tails <= bound))
    if not len(even):
        return None
    products = singles[:, left[even]]
    products *= singles[:, right[even]]
    products -= means[even]
    products /= spreads[even]
    return JointRows(
        products,
        tuple((parts[one][0], parts[other][0]) for one, other in (pairs[place] for place in even)),
    )


def _moments(singles: Floats) -> tuple[Floats, Floats, Floats]:
    """Of the product of every two columns: mean, standard deviation, standardised fourth moment."""
    powers = [singles]
    for _ in range(3):
        powers.append(powers[-1] * singles)
    first, second, third, fourth = (power.T @ power / len(singles) for power in powers)
    variance = np.maximum(second - first**2, 0)
    central = fourth - 4 * first * third + 6 * first**2 * second - 3 * first**4
    tails = np.divide(central, variance**2, out=np.zeros_like(central), where=variance > 1e-12)
    return first, np.sqrt(variance), tails


def _scores(values: Any, days: Places) -> list[Floats]:
    """Normal scores of a day's ranks, nulls in the middle, and an indicator of nulls."""
    try:
        filled = pc.fill_null(pc.cast(values, pa.float64()), float("nan"))
    except pa.ArrowInvalid:  # text: the column's own comparison tells that
        return []
    numbers = np.asarray(filled, dtype=np.float64)
    valid = np.isfinite(numbers)
    scores = np.zeros(len(numbers))
    for day in range(int(days.max()) + 1):
        own = valid & (days == day)
        if own.any():
            ranks = stats.rankdata(numbers[own])
            scores[own] = special.ndtri((ranks - 0.5) / len(ranks))
    return [scores, *_common((~valid).astype(np.float64), days)]


def _indicators(values: Any, days: Places) -> list[Floats]:
    text = pc.fill_null(pc.cast(values, pa.string()), "")
    coded = text.combine_chunks() if isinstance(text, pa.ChunkedArray) else text
    codes = coded.dictionary_encode().indices.to_numpy(zero_copy_only=False)
    most = np.argsort(-np.bincount(codes), kind="stable")[:_VALUES]
    return [one for code in most for one in _common((codes == code).astype(np.float64), days)]


def _common(indicator: Floats, days: Places) -> list[Floats]:
    """The indicator less its day's share, where it is neither rare nor the rule."""
    if not _RARE <= float(indicator.mean()) <= 1 - _RARE:
        return []
    rows = np.bincount(days)
    shares = np.bincount(days, weights=indicator) / np.maximum(rows, 1)
    return [indicator - shares[days]]


def _standard(values: Floats) -> Floats:
    spread = values.std(axis=0)
    centred = values - values.mean(axis=0)
    return np.asarray(np.divide(centred, spread, out=np.zeros_like(centred), where=spread > 1e-12))
