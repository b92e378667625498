"""The confusion matrix of any number of classes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ferryman.evaluation.metrics import THRESHOLD

BINARY_NAMES = ("no", "yes")


@dataclass(frozen=True)
class Confusion:
    """Counts of rows by what was true and what was answered: counts[was][answered].

    `threshold` is the least probability of a positive answer in a binary task, else None.
    """

    names: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]
    threshold: float | None = None

    def as_json(self) -> dict[str, Any]:
        """All of it as plain JSON."""
        return {
            "names": list(self.names),
            "counts": [list(row) for row in self.counts],
            "threshold": self.threshold,
        }


def confusion(
    labels: npt.NDArray[Any], predictions: npt.NDArray[np.float64], classes: Sequence[str] = ()
) -> Confusion:
    """Count the answers to finite predictions; a multiclass model has the names of its classes.

    Binary: bool and probabilities, both [rows]; multiclass: places [rows] and probabilities
    [rows, classes], the first of equally probable classes being answered.
    """
    threshold = None if classes else THRESHOLD
    names = tuple(classes) or BINARY_NAMES
    answers = predictions.argmax(axis=1) if classes else predictions >= THRESHOLD
    cells = labels.astype(np.int64) * len(names) + answers.astype(np.int64)
    counts = np.bincount(cells, minlength=len(names) ** 2).reshape(len(names), len(names))
    return Confusion(names, tuple(tuple(row) for row in counts.tolist()), threshold)
