"""How much one column alone tells of the label: 1.0 is a copy of it, in whatever disguise.

Classes are judged by an area under the curve (AUC), numbers by a share of explained variance (R2).
A column that names the row rather than says something about it (an id) tells nothing: categories
are judged on rows of other times than the rows that they were learned from.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pandas as pd

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]

_BLOCKS = 5
_FEW_VALUES = 50  # a number with so few different values may be a category in disguise
_LEAST_SHARE = 0.1  # a number that fewer rows have tells too little of the label to be a copy


def auc_of_numbers(column: "pd.Series[Any]", classes: Codes, limit: float) -> float:
    """How well a number orders the classes, in the best order, its nulls below or above all values.

    `classes` are places from 0, [rows]. The value is the chance that of two rows of different
    classes the number orders them as it orders their classes: with two classes the AUC. A number
    with few values is judged as a category, too; below `limit` that figure is a bound.
    """
    values: Floats = column.to_numpy(dtype=np.float64)
    empty = np.isnan(values)
    ends = (-np.inf, np.inf) if empty.any() else (0.0,)
    best = max(_concordance(np.where(empty, end, values), classes) for end in ends)
    if best < 1.0 and _has_few_values(column, max(_FEW_VALUES, 2 * int(classes.max() + 1))):
        best = max(best, auc_of_words(column, classes, limit))
    return best


def auc_of_words(column: "pd.Series[Any]", classes: Codes, limit: float) -> float:
    """The AUC of each class's rate in each category, as it is in the other blocks of time.

    The mean of all classes, one against the rest, weighted by their rows. A copy tells every class;
    an honest feature may well tell one of several. Classes are looked at from the most frequent on,
    and no longer than the mean can reach `limit`: what is returned below it is an upper bound.
    """
    import pandas as pd

    codes, words = pd.factorize(column, use_na_sentinel=False)
    sizes = np.bincount(classes)
    if len(sizes) == 2:
        return _auc_of_rates(codes, len(words), classes == 1)
    missing = 0.0
    for place in np.argsort(-sizes, kind="stable"):
        auc = _auc_of_rates(codes, len(words), classes == place)
        missing += (1 - auc) * float(sizes[place]) / len(classes)
        if 1 - missing < limit:
            break
    return 1 - missing


def r2_of_numbers(column: "pd.Series[Any]", labels: Floats) -> float:
    """The share of variance that a straight line on the number, or on its rank, explains.

    On the rows that have the number, where these are a tenth of all. A number with few values is
    judged as a category, too.
    """
    from scipy.stats import rankdata

    values: Floats = column.to_numpy(dtype=np.float64)
    given = ~np.isnan(values)
    best = 0.0
    if np.count_nonzero(given) >= max(2, _LEAST_SHARE * len(labels)):
        there, told = values[given], labels[given]
        best = max(_squared_correlation(there, told), 0.0)
        if best < 1.0:
            best = max(best, _squared_correlation(rankdata(there), rankdata(told)))
    if best < 1.0 and _has_few_values(column, _FEW_VALUES):
        best = max(best, r2_of_words(column, labels))
    return best


def r2_of_words(column: "pd.Series[Any]", labels: Floats) -> float:
    """The share of variance that each category's mean in the other blocks of time explains.

    On the rows whose category comes in other blocks, where these are at least half of all.
    """
    import pandas as pd

    codes, words = pd.factorize(column, use_na_sentinel=False)
    cells, counts = _cells(codes, len(words))
    sums = np.bincount(cells, weights=labels, minlength=counts.size).reshape(counts.shape)
    others = (counts.sum(axis=1, keepdims=True) - counts).ravel()[cells]
    seen = others > 0
    if np.count_nonzero(seen) * 2 < len(labels):
        return 0.0
    other_sums = (sums.sum(axis=1, keepdims=True) - sums).ravel()[cells]
    told = labels[seen]
    spread = float(np.sum((told - told.mean()) ** 2))
    missed = float(np.sum((told - other_sums[seen] / others[seen]) ** 2))
    return max(0.0, 1 - missed / spread) if spread > 0 else 0.0


def _has_few_values(column: "pd.Series[Any]", most: int) -> bool:
    import pandas as pd

    first = column.iloc[:10_000]
    return pd.unique(first).size <= most and pd.unique(column).size <= most


def _cells(codes: Codes, words: int) -> tuple[Codes, Codes]:
    """Each row's cell of category and block of time, and the rows of each: [words, blocks]."""
    blocks = np.arange(len(codes)) * _BLOCKS // max(len(codes), 1)
    cells = codes * _BLOCKS + blocks
    return cells, np.bincount(cells, minlength=words * _BLOCKS).reshape(-1, _BLOCKS)


def _auc_of_rates(codes: Codes, words: int, hit: npt.NDArray[np.bool_]) -> float:
    cells, counts = _cells(codes, words)
    hits = np.bincount(cells, weights=hit, minlength=counts.size).reshape(counts.shape)
    others = counts.sum(axis=1, keepdims=True) - counts
    other_hits = hits.sum(axis=1, keepdims=True) - hits
    rates = (other_hits + hit.mean()) / (others + 1)
    # One direction only: a rate learned elsewhere that ranks the wrong way round says nothing.
    return _rank_auc(_ranks(rates.ravel()[cells]), hit)


def _concordance(values: Floats, classes: Codes) -> float:
    """The mean AUC of all pairs of classes, by their pairs of rows, the classes in order of rank.

    Ordering two classes by their mean rank takes the better of the two directions.
    Source: Hand and Till (2001), each pair weighted by its rows.
    """
    ranks = _ranks(values)
    sizes = np.bincount(classes)
    order = np.argsort(np.bincount(classes, weights=ranks) / np.maximum(sizes, 1), kind="stable")
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    placed = place[classes]
    right = total = 0.0
    for rows, hit in _cuts(placed, len(order)):
        pairs = float(np.count_nonzero(hit)) * float(np.count_nonzero(~hit))
        right += pairs * _rank_auc(_ranks(ranks[rows]), hit)
        total += pairs
    return right / total


def _cuts(placed: Codes, classes: int) -> Iterator[tuple[Any, npt.NDArray[np.bool_]]]:
    """Divide the classes in halves, and these again: every pair of classes is parted once."""
    parts = [(0, classes)]
    while parts:
        low, high = parts.pop()
        if high - low < 2:
            continue
        middle = (low + high) // 2
        rows = (placed >= low) & (placed < high)
        hit = placed[rows] >= middle
        if hit.any() and not hit.all():
            yield rows, hit
        parts += [(low, middle), (middle, high)]


def _ranks(values: Floats) -> Floats:
    """Ranks from 1, equal values sharing their mean."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    sizes = np.diff(starts, append=len(values))
    ranks = np.empty(len(values), dtype=np.float64)
    ranks[order] = np.repeat(starts + (sizes + 1) / 2, sizes)
    return ranks


def _rank_auc(ranks: Floats, hit: npt.NDArray[np.bool_]) -> float:
    """The chance that a hit ranks above another row, ties counting half."""
    hits = int(np.count_nonzero(hit))
    return (float(ranks[hit].sum()) - hits * (hits + 1) / 2) / (hits * (len(hit) - hits))


def _squared_correlation(values: Floats, labels: Floats) -> float:
    """The R2 of a straight line; 0 where one of the two is constant."""
    centred = []
    for numbers in (values, labels):
        scaled = numbers / max(float(np.abs(numbers).max()), np.finfo(np.float64).tiny)
        centred.append(scaled - scaled.mean())
    first, second = (part / max(float(np.abs(part).max()), 1e-300) for part in centred)
    spread = float(first @ first) * float(second @ second)
    return float(first @ second) ** 2 / spread if spread > 0 else 0.0
