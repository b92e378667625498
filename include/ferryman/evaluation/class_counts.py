"""Precision, recall and F1 of classes and their averages, in many resamples at once."""

from dataclasses import dataclass

import numpy as np

from ferryman.evaluation.metrics import Floats, Places


@dataclass(frozen=True)
class ClassCounts:
    """Rows, answers and hits of each class, all [resamples, classes]."""

    rows: Floats
    answers: Floats
    hits: Floats

    def accuracy(self) -> Floats:
        """The share of rows whose answer is right."""
        return np.asarray(self.hits.sum(axis=1) / self.rows.sum(axis=1), dtype=np.float64)

    def precision(self) -> Floats:
        """Right answers of a class by its answers; NaN where it is never answered."""
        return _ratio(self.hits, self.answers)

    def recall(self) -> Floats:
        """Right answers of a class by its rows; NaN where it has none."""
        return _ratio(self.hits, self.rows)

    def f1(self) -> Floats:
        """The harmonic mean of both; NaN where a class has neither rows nor answers."""
        return _ratio(2 * self.hits, self.answers + self.rows)

    def averages(self) -> dict[str, Floats]:
        """Macro and weighted averages of the three over the classes.

        Zero division: a class with rows that is never answered counts with precision 0, one that
        is answered and has no rows with recall 0; one with neither does not count. The weights are
        the rows of the classes. This is scikit-learn's average with zero_division=0.
        """
        there = (self.rows + self.answers) > 0
        found: dict[str, Floats] = {}
        figures = {"precision": self.precision(), "recall": self.recall(), "f1": self.f1()}
        for name, values in figures.items():
            plain = np.nan_to_num(values)
            found[f"{name}_macro"] = plain.sum(axis=1) / there.sum(axis=1)
            found[f"{name}_weighted"] = (plain * self.rows).sum(axis=1) / self.rows.sum(axis=1)
        return found


class ClassAnswers:
    """Labels and answers as classes, ready to be counted in resamples."""

    def __init__(self, labels: Places, answers: Places, classes: int) -> None:
        self._labels = one_hot(labels, classes)
        self._answers = one_hot(answers, classes)
        self._hits = self._labels * self._answers

    def count(self, counts: Floats) -> ClassCounts:
        """The counts in each resample; counts of rows are [resamples, rows]."""
        return ClassCounts(counts @ self._labels, counts @ self._answers, counts @ self._hits)


def one_hot(places: Places, classes: int) -> Floats:
    """1 at each row's class, [rows, classes]."""
    hot = np.zeros((len(places), classes))
    hot[np.arange(len(places)), places] = 1.0
    return hot


def _ratio(above: Floats, below: Floats) -> Floats:
    return np.divide(above, below, out=np.full_like(above, np.nan), where=below > 0)
