"""The metrics of a binary model: probabilities of the label against what was true."""

from functools import cached_property

import numpy as np
import numpy.typing as npt

from ferryman.evaluation.calibration import CalibrationError
from ferryman.evaluation.class_counts import ClassAnswers
from ferryman.evaluation.metrics import (
    THRESHOLD,
    Bools,
    Floats,
    MetricFamilies,
    Resampled,
    log_losses,
    point_figures,
    vectors,
)
from ferryman.evaluation.ranking import Ranking
from ferryman.spec.metrics import METRICS_OF


class BinaryMeasures:
    """Measures of probabilities [rows] against truth values [rows].

    An answer is positive at a probability >= the threshold. roc_auc does not exist where one class
    is absent, pr_auc and recall where nothing is positive, precision where nothing is answered
    positive, f1 where both. The averages are over both classes, see ClassCounts.averages. brier is
    the mean squared error of the probability; calibration_error see CalibrationError.
    """

    names: tuple[str, ...] = METRICS_OF["binary"]

    def __init__(self, threshold: float = THRESHOLD) -> None:
        self._threshold = threshold

    def checked(self, labels: npt.ArrayLike, predictions: npt.ArrayLike) -> tuple[Bools, Floats]:
        """Both as arrays; ValueError where their shapes are not equal [rows]."""
        return vectors(labels, predictions, np.bool_)

    def score(self, labels: npt.ArrayLike, predictions: npt.ArrayLike) -> dict[str, float | None]:
        """Every metric, `rows`, and `base_rate`, the share of the positive rows."""
        truth, given = self.checked(labels, predictions)
        rows = len(truth)
        found: dict[str, float | None] = dict.fromkeys(self.names)
        if rows and np.isfinite(given).all():
            found = point_figures(self.resampled(truth, given), rows, self.names)
        return {**found, "rows": float(rows), "base_rate": float(truth.mean()) if rows else None}

    def resampled(self, labels: npt.ArrayLike, predictions: npt.ArrayLike) -> Resampled:
        """Finite probabilities of at least one row, ready to be resampled."""
        truth, given = self.checked(labels, predictions)
        return _BinaryResampled(truth, given, self._threshold)


class _BinaryResampled(MetricFamilies):
    """What a metric needs is made when it is first asked for: a sort of all rows is dear."""

    def __init__(self, labels: Bools, scores: Floats, threshold: float) -> None:
        self._labels, self._scores, self._threshold = labels, scores, threshold

    def _family(self, name: str, counts: Floats) -> dict[str, Floats]:
        if name in ("roc_auc", "pr_auc"):
            roc, precision_recall = self._ranking.areas(np.ascontiguousarray(counts.T))
            return {"roc_auc": roc, "pr_auc": precision_recall}
        if name == "calibration_error":
            return {name: self._calibration.errors(counts)}
        if name in ("log_loss", "brier"):
            means = counts @ self._losses / counts.sum(axis=1)[:, None]
            return {"log_loss": means[:, 0], "brier": means[:, 1]}
        counted = self._answers.count(counts)
        return {
            "accuracy": counted.accuracy(),
            "precision": counted.precision()[:, 1],
            "recall": counted.recall()[:, 1],
            "f1": counted.f1()[:, 1],
            **counted.averages(),
        }

    @cached_property
    def _ranking(self) -> Ranking:
        return Ranking(self._labels, self._scores)

    @cached_property
    def _calibration(self) -> CalibrationError:
        return CalibrationError(self._labels, self._scores)

    @cached_property
    def _losses(self) -> Floats:
        """The log loss and the squared error of each row, [rows, 2]."""
        of_truth = np.where(self._labels, self._scores, 1 - self._scores)
        return np.stack([log_losses(of_truth), (self._scores - self._labels) ** 2], axis=1)

    @cached_property
    def _answers(self) -> ClassAnswers:
        answers = (self._scores >= self._threshold).astype(np.int64)
        return ClassAnswers(self._labels.astype(np.int64), answers, 2)
