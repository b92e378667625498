"""Leakage: a column that alone gives the label away, found before anything is fitted.

Each column is judged by what it reaches by itself on the training rows, see `single_column`: where
the label is a class, an AUC over all classes; where it is a number, a share of its variance.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import log
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ferryman.data.validation.single_column import (
    auc_of_numbers,
    auc_of_words,
    r2_of_numbers,
    r2_of_words,
)
from ferryman.errors import DataRejected, GateRefused
from ferryman.spec.training import TrainSpec

if TYPE_CHECKING:
    import pandas as pd

_CHANCE = 1e-6  # a perfect column that luck could give so often, over all columns, is no evidence
_SHOWN = 5


@dataclass(frozen=True)
class Leak:
    """A column that alone tells the label: what it reaches on the training rows, and how it looks.

    `value` is an AUC, or an R2 where the label is a number; `measure` says which.
    """

    column: str
    value: float
    how: str
    measure: str = "AUC"

    def __str__(self) -> str:
        return f"column {self.column!r} alone gives {self.measure} {self.value:.3f} ({self.how})"


def check_labels(frame: "pd.DataFrame", name: str, train: TrainSpec) -> None:
    """Raise DataRejected (exit 3) with the counts where all labels of the rows are equal."""
    rows, values = len(frame), frame["label"].value_counts()
    if len(values) > 1:
        return
    if not rows:
        text = "there is no training row"
    elif train.task == "binary":
        positive = int(np.count_nonzero(frame["label"].to_numpy(dtype=bool)))
        text = f"of {rows} training rows, {positive} are true and {rows - positive} false"
    elif train.task == "multiclass":
        classes = len(train.classes)
        text = f"all {rows} training rows are of class {values.index[0]!r}, of {classes} declared"
    else:
        text = f"all {rows} training rows have the number {float(values.index[0]):g}"
    raise DataRejected(
        f"the label {name!r} is constant: {text}: nothing to learn",
        remedy="Lengthen train.window, or repair the label's query.",
    )


def find_leaks(frame: "pd.DataFrame", columns: Mapping[str, str], train: TrainSpec) -> list[Leak]:
    """The columns that alone tell the label of a frame of training rows, the most telling first.

    `frame` is ordered by event time and has `label` (bool, name of a class, or float64); `columns`
    are names and types of the features. Limits are train.suspicious_auc, and train.suspicious_r2
    for a regression (none: nothing is looked for). Empty where all labels are equal, or where so
    few rows are there that luck alone could give a perfect column.
    """
    import pandas as pd

    codes, values = pd.factorize(frame["label"], sort=train.task != "multiclass")
    limit = train.suspicious_r2 if train.task == "regression" else train.suspicious_auc
    if limit is None or not columns or _could_be_chance(codes, len(columns)):
        return []
    found = []
    for name, kind in columns.items():
        value = _strength(frame[name], kind, codes, frame["label"], train)
        if value >= limit:
            how = _describe(frame[name], codes, len(values), train)
            measure = "R2" if train.task == "regression" else "AUC"
            found.append(Leak(name, round(value, 6), how, measure))
    return sorted(found, key=lambda leak: (-leak.value, leak.column))


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


def _strength(
    column: "pd.Series[Any]",
    kind: str,
    codes: npt.NDArray[np.int64],
    labels: "pd.Series[Any]",
    train: TrainSpec,
) -> float:
    if train.task == "regression":
        judge = r2_of_words if kind == "category" else r2_of_numbers
        return judge(column, labels.to_numpy(dtype=np.float64))
    if kind == "category":
        return auc_of_words(column, codes, train.suspicious_auc)
    return auc_of_numbers(column, codes, train.suspicious_auc)


def _could_be_chance(codes: npt.NDArray[np.int64], columns: int) -> bool:
    """Whether a random column could order these labels perfectly, one way or the other."""
    from scipy.special import gammaln

    sizes = np.bincount(codes)
    if len(sizes) < 2:
        return True
    ways = float(gammaln(len(codes) + 1) - gammaln(sizes + 1).sum())
    return ways < log(2 * columns / _CHANCE)


def _describe(
    column: "pd.Series[Any]", codes: npt.NDArray[np.int64], labels: int, train: TrainSpec
) -> str:
    """What a leaking column looks like beside the label, in a few words."""
    import pandas as pd

    places, values = pd.factorize(column, use_na_sentinel=False)
    if len(values) == labels and len(np.unique(places * labels + codes)) == labels:
        if train.task == "regression":
            return "it has one value for each value of the label"
        return (
            f"it has {'two' if labels == 2 else labels} values, "
            f"one for each {'label' if labels == 2 else 'class'}"
        )
    if len(values) > len(codes) // 2:
        return "its values are nearly all different, and ordered as the label is"
    return f"{len(values)} different values"
