"""The metrics of each task by name, and which way is better: one vocabulary for every part."""

from collections.abc import Mapping
from typing import Literal

Task = Literal["binary", "multiclass", "regression"]

MetricName = Literal[
    "roc_auc",
    "pr_auc",
    "log_loss",
    "brier",
    "calibration_error",
    "accuracy",
    "precision",
    "recall",
    "f1",
    "precision_macro",
    "recall_macro",
    "f1_macro",
    "precision_weighted",
    "recall_weighted",
    "f1_weighted",
    "mae",
    "rmse",
    "r2",
    "mape",
]

_PROBABILITIES: tuple[MetricName, ...] = (
    "roc_auc",
    "pr_auc",
    "log_loss",
    "brier",
    "calibration_error",
    "accuracy",
)
_AVERAGES: tuple[MetricName, ...] = (
    "precision_macro",
    "recall_macro",
    "f1_macro",
    "precision_weighted",
    "recall_weighted",
    "f1_weighted",
)

METRICS_OF: Mapping[Task, tuple[MetricName, ...]] = {
    "binary": (*_PROBABILITIES, "precision", "recall", "f1", *_AVERAGES),
    "multiclass": (*_PROBABILITIES, *_AVERAGES),
    "regression": ("mae", "rmse", "r2", "mape"),
}

LOWER_IS_BETTER: frozenset[str] = frozenset(
    {"log_loss", "brier", "calibration_error", "mae", "rmse", "mape"}
)

# Means of a loss of each row (rmse: the root of one): by them answers are compared one by one.
MEANS_OVER_ROWS: tuple[MetricName, ...] = ("log_loss", "brier", "accuracy", "mae", "rmse", "mape")
