"""What the metrics of all tasks share: types, limits, losses of rows, checks of shapes."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Places = npt.NDArray[np.int64]

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


def check_vectors(truth: npt.NDArray[Any], given: Floats) -> None:
    """ValueError unless labels and predictions are both of the same shape [rows]."""
    if truth.ndim != 1 or truth.shape != given.shape:
        raise ValueError(f"labels {truth.shape} and predictions {given.shape} must be equal [rows]")
