"""What the metrics of all tasks share: types, limits, losses of rows, checks of shapes."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Places = npt.NDArray[np.int64]
Kind = TypeVar("Kind", bound=np.generic)

# A probability of exactly 0 or 1 that is wrong would cost infinitely much; served probabilities
# are float32, whose resolution near 1 is 6e-8.
CLIP = 1e-7
THRESHOLD = 0.5


class Resampled(Protocol):
    """One model's answers, ready to be weighted by how often a resample drew each row."""

    def metrics(self, counts: Floats, names: Sequence[str]) -> dict[str, Floats]:
        """Each metric in each resample, [resamples]; counts are [resamples, rows].

        NaN stands for "does not exist in this resample".
        """
        ...


class MetricFamilies(ABC):
    """Resampled answers of classes: metrics that need the same work are made together, once."""

    def metrics(self, counts: Floats, names: Sequence[str]) -> dict[str, Floats]:
        """See Resampled."""
        found: dict[str, Floats] = {}
        for name in names:
            if name not in found:
                found.update(self._family(name, counts))
        return picked(found, names)

    @abstractmethod
    def _family(self, name: str, counts: Floats) -> dict[str, Floats]:
        """A metric, and those that come with it."""


def log_losses(of_truth: Floats) -> Floats:
    """The logarithmic loss in nats of the probability that was given to what happened."""
    return -np.log(np.clip(of_truth, CLIP, 1 - CLIP))


def point_figures(resampled: Resampled, rows: int, names: Sequence[str]) -> dict[str, float | None]:
    """Each metric of the rows as they are; None where it does not exist."""
    found = resampled.metrics(np.ones((1, rows)), names)
    return {name: float(found[name][0]) if np.isfinite(found[name][0]) else None for name in names}


def picked(found: Mapping[str, Floats], names: Sequence[str]) -> dict[str, Floats]:
    """The asked metrics in the asked order; ValueError names one that the task does not have."""
    unknown = [name for name in names if name not in found]
    if unknown:
        raise ValueError(f"no metrics of this task: {', '.join(unknown)}")
    return {name: found[name] for name in names}


def vectors(
    labels: npt.ArrayLike, predictions: npt.ArrayLike, kind: type[Kind]
) -> tuple[npt.NDArray[Kind], Floats]:
    """Labels of a kind and predictions; ValueError unless both are of the same shape [rows]."""
    truth = np.asarray(labels, dtype=kind)
    given = np.asarray(predictions, dtype=np.float64)
    if truth.ndim != 1 or truth.shape != given.shape:
        raise ValueError(f"labels {truth.shape} and predictions {given.shape} must be equal [rows]")
    return truth, given
