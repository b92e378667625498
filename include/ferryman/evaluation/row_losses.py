"""The loss of each row, for the metrics that are means over rows.

Lower is better, whichever way the metric goes. log_loss is clipped as the metric is; accuracy is 1
for a wrong answer and 0 for a right one; rmse is the squared error, in the square of the label's
unit; mape is the error as a share of the true value.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from ferryman.evaluation.class_counts import one_hot
from ferryman.evaluation.metrics import THRESHOLD, Floats, log_losses
from ferryman.spec.metrics import MEANS_OVER_ROWS, METRICS_OF, MetricName, Task


def compared_metric(task: Task, declared: MetricName | None, usual: MetricName) -> MetricName:
    """The metric that answers are compared by: the declared one, else the usual one of the model.

    Where neither is a mean over the rows of the task: log_loss, of a regression rmse.
    """
    legal = [name for name in METRICS_OF[task] if name in MEANS_OVER_ROWS]
    last: MetricName = "rmse" if task == "regression" else "log_loss"
    return next((name for name in (declared, usual) if name in legal and name is not None), last)


def row_losses(
    task: Task, metric: MetricName, labels: npt.NDArray[Any], predictions: Floats
) -> Floats:
    """The loss of each row, [rows]; NaN where a row has none.

    Labels and predictions are as `evaluation.measures.Measures` takes them. A row without a loss
    has a prediction that is not finite, or of mape a true value of 0. ValueError for a metric that
    is no mean over the rows of the task.
    """
    if metric not in MEANS_OVER_ROWS or metric not in METRICS_OF[task]:
        raise ValueError(f"{metric} is no mean over the rows of a {task} task")
    by_task = {"binary": _binary, "multiclass": _multiclass, "regression": _regression}[task]
    finite = np.isfinite(predictions)
    answered = finite.all(axis=1) if finite.ndim > 1 else finite
    losses = np.full(len(labels), np.nan)
    if answered.any():
        losses[answered] = by_task(metric, labels[answered], predictions[answered])
    return losses


def _binary(metric: MetricName, labels: npt.NDArray[Any], given: Floats) -> Floats:
    truth = labels.astype(np.bool_)
    if metric == "log_loss":
        return log_losses(np.where(truth, given, 1 - given))
    if metric == "brier":
        return np.square(given - truth)
    wrong: Floats = ((given >= THRESHOLD) != truth).astype(np.float64)
    return wrong


def _multiclass(metric: MetricName, labels: npt.NDArray[Any], given: Floats) -> Floats:
    places = labels.astype(np.int64)
    if metric == "log_loss":
        return log_losses(given[np.arange(len(given)), places])
    if metric == "brier":
        squares: Floats = ((given - one_hot(places, given.shape[1])) ** 2).sum(axis=1)
        return squares
    wrong: Floats = (given.argmax(axis=1) != places).astype(np.float64)
    return wrong


def _regression(metric: MetricName, labels: npt.NDArray[Any], given: Floats) -> Floats:
    # Answers beyond all bounds have losses beyond all bounds, which count as none.
    with np.errstate(over="ignore"):
        errors = np.abs(given - labels.astype(np.float64))
        if metric == "mape":
            missing = np.full(len(errors), np.nan)
            found = np.divide(errors, np.abs(labels), out=missing, where=labels != 0)
        else:
            found = errors**2 if metric == "rmse" else errors
    return np.where(np.isfinite(found), found, np.nan)
