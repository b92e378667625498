"""The metrics of a multiclass model: a probability a class against the class that was true."""

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import numpy.typing as npt

from ferryman.evaluation.calibration import CalibrationError
from ferryman.evaluation.class_counts import ClassAnswers, one_hot
from ferryman.evaluation.metrics import (
    Floats,
    MetricFamilies,
    Places,
    Resampled,
    log_losses,
    point_figures,
)
from ferryman.evaluation.ranking import Ranking
from ferryman.spec.metrics import METRICS_OF


class ClassMeasures:
    """Measures of probabilities [rows, classes] against the places of the true classes [rows].

    The answer is the most probable class, the first of equal ones. roc_auc and pr_auc are means
    over the classes, each against all others; a class that no row has, or every row, does not
    count, and none is left where all rows are of one class. brier is the sum over the classes of
    the squared errors, so it lies between 0 and 2. calibration_error is that of the most probable
    class. The averages see ClassCounts.averages.
    """

    names: tuple[str, ...] = METRICS_OF["multiclass"]

    def __init__(self, classes: Sequence[str]) -> None:
        if len(classes) < 2:
            raise ValueError("multiclass measures need the names of at least two classes")
        self._classes = tuple(classes)

    def checked(self, labels: npt.ArrayLike, predictions: npt.ArrayLike) -> tuple[Places, Floats]:
        """Both as arrays; ValueError for other shapes, and for a place that no class has."""
        truth = np.asarray(labels)
        given = np.asarray(predictions, dtype=np.float64)
        count = len(self._classes)
        if not len(truth):
            given = given.reshape(0, count)
        if truth.ndim != 1 or given.shape != (len(truth), count):
            raise ValueError(
                f"labels {truth.shape} must be [rows] and predictions {given.shape} [rows, {count}]"
            )
        places = truth.astype(np.int64)
        if len(truth) and ((places != truth).any() or places.min() < 0 or places.max() >= count):
            raise ValueError(f"labels must be whole numbers from 0 to {count - 1}")
        return places, given

    def score(self, labels: npt.ArrayLike, predictions: npt.ArrayLike) -> dict[str, float | None]:
        """Every metric, `rows`, and how many classes have no rows and how many no answers."""
        truth, given = self.checked(labels, predictions)
        rows, count = len(truth), len(self._classes)
        found: dict[str, float | None] = dict.fromkeys(self.names)
        unanswered: float | None = None
        if rows and np.isfinite(given).all():
            found = point_figures(self.resampled(truth, given), rows, self.names)
            unanswered = float(count - len(np.unique(given.argmax(axis=1))))
        return {
            **found,
            "rows": float(rows),
            "classes_without_rows": float(count - len(np.unique(truth))),
            "classes_without_answers": unanswered,
        }

    def resampled(self, labels: npt.ArrayLike, predictions: npt.ArrayLike) -> Resampled:
        """Finite probabilities of at least one row, ready to be resampled."""
        truth, given = self.checked(labels, predictions)
        return _ClassResampled(truth, given)


class _ClassResampled(MetricFamilies):
    """What a metric needs is made when it is first asked for: a sort of all rows is dear."""

    def __init__(self, labels: Places, scores: Floats) -> None:
        self._labels, self._scores = labels, scores
        self._chosen = scores.argmax(axis=1).astype(np.int64)

    def _family(self, name: str, counts: Floats) -> dict[str, Floats]:
        if name in ("roc_auc", "pr_auc"):
            roc, precision_recall = self._areas(counts)
            return {"roc_auc": roc, "pr_auc": precision_recall}
        if name == "calibration_error":
            return {name: self._calibration.errors(counts)}
        if name in ("log_loss", "brier"):
            means = counts @ self._losses / counts.sum(axis=1)[:, None]
            return {"log_loss": means[:, 0], "brier": means[:, 1]}
        counted = self._answers.count(counts)
        return {"accuracy": counted.accuracy(), **counted.averages()}

    def _areas(self, counts: Floats) -> tuple[Floats, Floats]:
        """The means over the classes of the two areas."""
        drawn = np.ascontiguousarray(counts.T)
        sums, classes = np.zeros((2, len(counts))), np.zeros(len(counts))
        for ranking in self._rankings:
            areas = np.stack(ranking.areas(drawn))
            there = np.isfinite(areas[0])
            sums += np.where(there, areas, 0.0)
            classes += there
        with np.errstate(invalid="ignore", divide="ignore"):
            means = sums / classes
        return means[0], means[1]

    @cached_property
    def _rankings(self) -> list[Ranking]:
        """Each class that has rows against all others."""
        return [
            Ranking(self._labels == place, self._scores[:, place])
            for place in np.unique(self._labels)
        ]

    @cached_property
    def _calibration(self) -> CalibrationError:
        return CalibrationError(self._chosen == self._labels, self._scores.max(axis=1))

    @cached_property
    def _losses(self) -> Floats:
        """The log loss and the squared error of each row, [rows, 2]."""
        rows, classes = self._scores.shape
        of_truth = self._scores[np.arange(rows), self._labels]
        squares = ((self._scores - one_hot(self._labels, classes)) ** 2).sum(axis=1)
        return np.stack([log_losses(of_truth), squares], axis=1)

    @cached_property
    def _answers(self) -> ClassAnswers:
        return ClassAnswers(self._labels, self._chosen, self._scores.shape[1])
