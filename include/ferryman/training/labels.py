"""The labels of rows as numbers, as trainers and metrics take them."""

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ferryman.errors import DataRejected
from ferryman.spec.training import TrainSpec

if TYPE_CHECKING:
    import pandas as pd


def encode_labels(values: "pd.Series[Any]", train: TrainSpec) -> npt.NDArray[Any]:
    """bool for a binary task, float64 for a regression, the class's place (int64) for multiclass.

    `values` is the column `label` of a dataset: truth values, numbers, or names of classes. Raises
    DataRejected (exit 3) where a class is none of train.classes or a number is not finite.
    """
    if train.task == "binary":
        return values.to_numpy(dtype=np.bool_)
    if train.task == "regression":
        numbers = values.to_numpy(dtype=np.float64)
        if not np.isfinite(numbers).all():
            raise DataRejected("a label is no finite number")
        return numbers
    places = {name: place for place, name in enumerate(train.classes)}
    unknown = sorted(set(values.unique()) - places.keys())
    if unknown:
        shown = ", ".join(repr(name)[:60] for name in unknown[:5])
        raise DataRejected(
            f"{len(unknown)} classes of the label are none of train.classes: {shown}",
            remedy="Declare them in train.classes, or correct the label's query.",
        )
    return values.map(places).to_numpy(dtype=np.int64)


def refuse_constant(labels: npt.NDArray[Any], train: TrainSpec) -> None:
    """Raise DataRejected (exit 3) where all labels are equal: there is nothing to learn."""
    if len(labels) and (labels != labels[0]).any():
        return
    only = "" if not len(labels) else str(labels[0])
    if train.task == "multiclass" and len(labels):
        only = repr(train.classes[int(labels[0])])
    raise DataRejected(
        f"all {len(labels)} labels of the training data are {only.lower()}: nothing to learn",
        remedy="Lengthen train.window, or repair the label's query.",
    )
