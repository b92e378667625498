"""The loss of a row is what the metric is the mean of."""

import numpy as np
import pytest

from ferryman.evaluation.measures import make_measures
from ferryman.evaluation.row_losses import compared_metric, row_losses
from ferryman.spec.metrics import MEANS_OVER_ROWS, METRICS_OF, MetricName, Task

CLASSES = ("bus", "car", "train")
CASES = [
    (task, metric)
    for task in ("binary", "multiclass", "regression")
    for metric in METRICS_OF[task]
    if metric in MEANS_OVER_ROWS
]


def answers(task: Task) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(5)
    if task == "binary":
        return random.random(400) < 0.3, np.append(random.random(398), [0.0, 1.0])
    if task == "multiclass":
        return random.integers(0, 3, 400), random.dirichlet([1, 1, 1], 400)
    return np.append(random.normal(3, 2, 398), [0.0, 0.0]), random.normal(3, 2, 400)


@pytest.mark.parametrize(("task", "metric"), CASES)
def test_the_mean_of_the_losses_is_the_metric(task: Task, metric: MetricName) -> None:
    labels, given = answers(task)
    losses = row_losses(task, metric, labels, given)
    mean = float(np.nanmean(losses))
    mean = {"accuracy": 1 - mean, "rmse": np.sqrt(mean)}.get(metric, mean)
    assert mean == pytest.approx(make_measures(task, CLASSES).score(labels, given)[metric])
    assert np.isnan(losses).sum() == (2 if metric == "mape" else 0)


@pytest.mark.parametrize(("task", "metric"), CASES)
def test_an_answer_that_is_no_number_has_no_loss(task: Task, metric: MetricName) -> None:
    labels, given = answers(task)
    whole = row_losses(task, metric, labels, given)
    given[3] = np.nan
    losses = row_losses(task, metric, labels, given)
    assert np.isnan(losses[3])
    assert np.array_equal(np.delete(losses, 3), np.delete(whole, 3), equal_nan=True)
    assert np.isnan(row_losses(task, metric, labels[:2], np.full_like(given[:2], np.inf))).all()


def test_what_is_no_mean_over_rows_is_refused() -> None:
    for task, metric in (("binary", "roc_auc"), ("regression", "log_loss"), ("binary", "mae")):
        with pytest.raises(ValueError, match="no mean over the rows"):
            row_losses(task, metric, np.zeros(2), np.zeros(2))


def test_the_metric_is_the_declared_one_else_that_of_the_gate() -> None:
    assert compared_metric("binary", "brier", "log_loss") == "brier"
    assert compared_metric("binary", None, "accuracy") == "accuracy"
    assert compared_metric("binary", None, "roc_auc") == "log_loss"
    assert compared_metric("multiclass", None, "f1_macro") == "log_loss"
    assert compared_metric("regression", None, "r2") == "rmse"
    assert compared_metric("regression", None, "mae") == "mae"
