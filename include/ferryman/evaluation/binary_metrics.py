"""The metrics of a binary model: probabilities of the label against what was true."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ferryman.evaluation.calibration import CalibrationError
from ferryman.evaluation.class_counts import ClassAnswers
from ferryman.evaluation.metrics import (
    THRESHOLD,
    Bools,
    Floats,
    Resampled,
    check_vectors,
    log_losses,
    picked,
    point_figures,
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
        truth = np.asarray(labels, dtype=np.bool_)
        given = np.asarray(predictions, dtype=np.float64)
        check_vectors(truth, given)
        return truth, given

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


class _BinaryResampled:
    def __init__(self, labels: Bools, scores: Floats, threshold: float) -> None:
        self._ranking = Ranking(labels, scores)
        self._losses = log_losses(np.where(labels, scores, 1 - scores))
        self._squares = (scores - labels) ** 2
        self._calibration = CalibrationError(labels, scores)
        answers = (scores >= threshold).astype(np.int64)
        self._answers = ClassAnswers(labels.astype(np.int64), answers, 2)

    def metrics(self, counts: Floats, names: Sequence[str]) -> dict[str, Floats]:
        """See Resampled."""
        rows = counts.sum(axis=1)
        found: dict[str, Floats] = {
            "log_loss": counts @ self._losses / rows,
            "brier": counts @ self._squares / rows,
            "calibration_error": self._calibration.errors(counts),
            **self._of_answers(counts),
        }
        if "roc_auc" in names or "pr_auc" in names:
            drawn = np.ascontiguousarray(counts.T)
            found["roc_auc"], found["pr_auc"] = self._ranking.areas(drawn)
        return picked(found, names)

    def _of_answers(self, counts: Floats) -> dict[str, Floats]:
        counted = self._answers.count(counts)
        return {
            "accuracy": counted.accuracy(),
            "precision": counted.precision()[:, 1],
            "recall": counted.recall()[:, 1],
            "f1": counted.f1()[:, 1],
            **counted.averages(),
        }
