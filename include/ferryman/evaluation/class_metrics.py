"""The metrics of a multiclass model: a probability a class against the class that was true."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ferryman.evaluation.calibration import CalibrationError
from ferryman.evaluation.class_counts import ClassAnswers, one_hot
from ferryman.evaluation.metrics import (
    Floats,
    Places,
    Resampled,
    log_losses,
    picked,
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


class _ClassResampled:
    def __init__(self, labels: Places, scores: Floats) -> None:
        rows, classes = scores.shape
        answers = scores.argmax(axis=1).astype(np.int64)
        self._labels, self._scores = labels, scores
        self._rankings: list[Ranking] = []
        self._losses = log_losses(scores[np.arange(rows), labels])
        self._squares = ((scores - one_hot(labels, classes)) ** 2).sum(axis=1)
        self._calibration = CalibrationError(answers == labels, scores.max(axis=1))
        self._answers = ClassAnswers(labels, answers, classes)

    def metrics(self, counts: Floats, names: Sequence[str]) -> dict[str, Floats]:
        """See Resampled."""
        rows = counts.sum(axis=1)
        counted = self._answers.count(counts)
        found: dict[str, Floats] = {
            "log_loss": counts @ self._losses / rows,
            "brier": counts @ self._squares / rows,
            "calibration_error": self._calibration.errors(counts),
            "accuracy": counted.accuracy(),
            **counted.averages(),
        }
        if "roc_auc" in names or "pr_auc" in names:
            found["roc_auc"], found["pr_auc"] = self._areas(counts)
        return picked(found, names)

    def _areas(self, counts: Floats) -> tuple[Floats, Floats]:
        """The means over the classes of the two areas."""
        if not self._rankings:
            # Sorting every class is dear: it waits until an area is asked for.
            self._rankings = [
                Ranking(self._labels == place, self._scores[:, place])
                for place in np.unique(self._labels)
            ]
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
