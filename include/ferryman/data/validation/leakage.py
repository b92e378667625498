"""Leakage: a column that alone gives the label away, found before anything is fitted.

Each column is judged by the area under the curve (AUC) that it reaches by itself on the training
rows: 1.0 is a copy of the label, in whatever disguise. A column that names the row rather than
says something about it (an id) is no leak: categories are scored on rows of other times than the
rows that they were learned from.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import lgamma, log
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ferryman.errors import DataRejected, GateRefused

if TYPE_CHECKING:
    import pandas as pd

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

_BLOCKS = 5
_FEW_VALUES = 50  # a number with so few different values may be a category in disguise
_CHANCE = 1e-6  # a perfect column that luck could give so often, over all columns, is no evidence
_SHOWN = 5


@dataclass(frozen=True)
class Leak:
    """A column that alone tells the label: its AUC on the training rows, and what it looks like."""

    column: str
    auc: float
    how: str

    def __str__(self) -> str:
        return f"column {self.column!r} alone gives AUC {self.auc:.3f} ({self.how})"


def check_labels(frame: "pd.DataFrame", name: str) -> None:
    """Raise DataRejected (exit 3) with the counts where all labels of the rows are equal."""
    rows, positive = len(frame), int(np.count_nonzero(frame["label"].to_numpy(dtype=bool)))
    if positive in (0, rows):
        raise DataRejected(
            f"the label {name!r} is constant: of {rows} training rows, {positive} are true and "
            f"{rows - positive} false: nothing to learn",
            remedy="Lengthen train.window, or repair the label's query.",
        )


def find_leaks(frame: "pd.DataFrame", columns: Mapping[str, str], limit: float) -> list[Leak]:
    """The columns whose AUC on a frame of training rows is at least the limit, worst first.

    `frame` is ordered by event time and has `label` (bool); `columns` are names and types of the
    features. Empty where one class is absent, or where so few rows of it are there that luck alone
    could give a perfect column.
    """
    labels: Bools = frame["label"].to_numpy(dtype=bool)
    if not columns or _could_be_chance(labels, len(columns)):
        return []
    found = []
    for name, kind in columns.items():
        auc = _auc_of_words(frame[name], labels) if kind == "category" else 0.0
        if kind != "category":
            auc = _auc_of_numbers(frame[name], labels)
        if auc >= limit:
            found.append(Leak(name, round(auc, 6), _describe(frame[name], labels)))
    return sorted(found, key=lambda leak: (-leak.auc, leak.column))


def refuse_leaks(leaks: list[Leak], rows: int) -> None:
    """Raise GateRefused (exit 4) that names the leaking columns; nothing where there are none."""
    if not leaks:
        return
    shown = "; ".join(str(leak) for leak in leaks[:_SHOWN])
    more = f"; and {len(leaks) - _SHOWN} more columns" if len(leaks) > _SHOWN else ""
    raise GateRefused(
        f"suspiciously good: {shown}{more}, on {rows} training rows",
        remedy="Take out what is known only after the event. If it is right as it is, train with "
        "the parameter accept_leakage=REASON (10 to 200 characters); it is recorded with your "
        "name.",
    )


def _could_be_chance(labels: Bools, columns: int) -> bool:
    """Whether a random column could order these labels perfectly, one way or the other."""
    rows, positive = len(labels), int(np.count_nonzero(labels))
    if positive in (0, rows):
        return True
    ways = lgamma(rows + 1) - lgamma(positive + 1) - lgamma(rows - positive + 1)
    return ways < log(2 * columns / _CHANCE)


def _auc_of_numbers(column: "pd.Series[Any]", labels: Bools) -> float:
    """The best AUC of a number in either direction, its nulls below or above all values."""
    values: Floats = column.to_numpy(dtype=np.float64)
    empty = np.isnan(values)
    tries = [np.where(empty, end, values) for end in ((-np.inf, np.inf) if empty.any() else (0,))]
    best = max(max(auc, 1 - auc) for auc in (_rank_auc(labels, given) for given in tries))
    if best < 1.0 and len(np.unique(values[:10_000])) <= _FEW_VALUES:
        import pandas as pd

        if pd.unique(column).size <= _FEW_VALUES:
            best = max(best, _auc_of_words(column, labels))
    return best


def _auc_of_words(column: "pd.Series[Any]", labels: Bools) -> float:
    """The AUC of the label's rate in each category, as it is in the other blocks of time."""
    import pandas as pd

    codes, words = pd.factorize(column, use_na_sentinel=False)
    blocks = np.arange(len(labels)) * _BLOCKS // max(len(labels), 1)
    cells = codes * _BLOCKS + blocks
    size = len(words) * _BLOCKS
    counts = np.bincount(cells, minlength=size).reshape(-1, _BLOCKS)
    hits = np.bincount(cells, weights=labels, minlength=size).reshape(-1, _BLOCKS)
    others = counts.sum(axis=1, keepdims=True) - counts
    other_hits = hits.sum(axis=1, keepdims=True) - hits
    rates = (other_hits + labels.mean()) / (others + 1)
    # One direction only: a rate learned elsewhere that ranks the wrong way round says nothing.
    return _rank_auc(labels, rates[codes, blocks])


def _rank_auc(labels: Bools, scores: Floats) -> float:
    """The chance that a positive row scores above a negative one, ties counting half."""
    order = np.argsort(scores, kind="stable")
    ordered = scores[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    sizes = np.diff(starts, append=len(scores))
    ranks = np.repeat(starts + (sizes + 1) / 2, sizes)
    positives = int(np.count_nonzero(labels))
    total = float(ranks[labels[order]].sum()) - positives * (positives + 1) / 2
    return total / (positives * (len(labels) - positives))


def _describe(column: "pd.Series[Any]", labels: Bools) -> str:
    """What a leaking column looks like beside the label, in a few words."""
    import pandas as pd

    codes, values = pd.factorize(column, use_na_sentinel=False)
    if len(values) == 2:
        first = codes.astype(bool)
        if (first == labels).all() or (first != labels).all():
            return "it has two values, one for each label"
    if len(values) > len(labels) // 2:
        return "its values are nearly all different, and ordered as the label is"
    return f"{len(values)} different values"
