"""What a candidate is compared with: the champion, or for a first model the declared baseline."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ferryman.evaluation.metrics import Floats
from ferryman.spec.evaluation import GatesSpec
from ferryman.spec.metrics import Task

CHAMPION: Literal["champion"] = "champion"
BASELINE: Literal["baseline"] = "baseline"

# Where a constant answer has a figure that means something. It ranks nothing (roc_auc, pr_auc),
# finds no class (precision and its kin) or is calibrated by its nature (calibration_error); the
# mean is no rival in r2, where it is 0, nor in mape, where any small constant beats it.
_OF_CONSTANTS = frozenset({"log_loss", "brier", "accuracy", "mae", "rmse"})


@dataclass(frozen=True)
class Rival:
    """Who else answered the evaluation rows, and the metric in which the two are compared.

    `name` stands in the verdict after "better than the"; `note` says what else one should know.
    """

    kind: Literal["champion", "baseline"]
    name: str
    predictions: Floats
    metric: str
    note: str = ""


def champion_rival(spec: GatesSpec, predictions: Floats) -> Rival:
    """The champion's answers to the evaluation rows."""
    return Rival(CHAMPION, CHAMPION, predictions, spec.champion.metric)


def pipeline_rival(spec: GatesSpec, predictions: Floats) -> Rival:
    """The answers of the declared pipeline, fitted on the candidate's training rows."""
    name = f"baseline {spec.baseline.pipeline}"
    return Rival(BASELINE, name, predictions, spec.champion.metric)


def constant_rival(
    spec: GatesSpec, task: Task, classes: int, train_labels: npt.NDArray[Any], rows: int
) -> Rival:
    """One answer to all rows: the training labels' share, shares or mean.

    It is compared in the champion's metric where a constant has one, else in the proper score of
    the task (log_loss, rmse), and the note says so.
    """
    asked = spec.champion.metric
    metric, note = asked, ""
    if asked not in _OF_CONSTANTS:
        metric = "rmse" if task == "regression" else "log_loss"
        note = f"compared in {metric}, since {asked} says nothing about a constant answer"
    predictions = constant_answer(task, classes, train_labels, rows)
    return Rival(BASELINE, f"constant answer {_SAYS[task]}", predictions, metric, note)


_SAYS = {
    "binary": "of the training base rate",
    "multiclass": "of the training class shares",
    "regression": "of the training mean",
}


def constant_answer(
    task: Task, classes: int, train_labels: npt.NDArray[Any], rows: int
) -> npt.NDArray[np.float64]:
    """What the training labels say by themselves, for so many rows, in the shape of the task."""
    if task == "multiclass":
        shares = np.bincount(train_labels, minlength=classes) / len(train_labels)
        return np.tile(shares, (rows, 1))
    return np.full(rows, float(np.mean(train_labels)))
