"""The port of the metrics: one way to score and to resample the answers of every task."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy.typing as npt

from ferryman.evaluation.binary_metrics import BinaryMeasures
from ferryman.evaluation.class_metrics import ClassMeasures
from ferryman.evaluation.metrics import Floats, Resampled
from ferryman.evaluation.regression_metrics import RegressionMeasures
from ferryman.spec.metrics import Task

__all__ = ["Measures", "Resampled", "make_measures"]


class Measures(Protocol):
    """The metrics of a task.

    Labels and predictions are arrays as `training.labels.encode_labels` and a fitted model give
    them: binary bool and probabilities, both [rows]; multiclass the class's place [rows] and
    probabilities [rows, classes]; regression numbers, both [rows].
    """

    names: tuple[str, ...]

    def checked(
        self, labels: npt.ArrayLike, predictions: npt.ArrayLike
    ) -> tuple[npt.NDArray[Any], Floats]:
        """Both as arrays; ValueError where they are not of the task's shapes."""
        ...

    def score(self, labels: npt.ArrayLike, predictions: npt.ArrayLike) -> dict[str, float | None]:
        """Every metric by name, and `rows`; None stands for "cannot be had".

        All metrics are None where there are no rows or a prediction is not finite.
        """
        ...

    def resampled(self, labels: npt.ArrayLike, predictions: npt.ArrayLike) -> Resampled:
        """The rows, ready to be weighted; there is at least one, and all are finite."""
        ...


def make_measures(task: Task, classes: Sequence[str] = ()) -> Measures:
    """The measures of a task; `classes` are the declared ones of a multiclass task."""
    if task == "binary":
        return BinaryMeasures()
    if task == "multiclass":
        return ClassMeasures(classes)
    return RegressionMeasures()
