"""Bootstrap percentile intervals of metrics, and of the difference of two models' metrics.

Each resample draws rows with replacement. What is kept of it is how often each row was drawn, so
that one matrix product gives a metric of all resamples, with no row copied.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from ferryman.evaluation.metrics import (
    LOWER_IS_BETTER,
    METRICS,
    THRESHOLD,
    Bools,
    Floats,
    checked,
    log_losses,
    score_binary,
    squared_errors,
)

# Cells of the count matrix that are held at once: 4 M doubles are 32 MB.
_CELLS = 4_000_000
# An interval needs the metric to exist in nearly every resample.
_LEAST_DEFINED = 0.95
_CONFUSION = ("accuracy", "precision", "recall", "f1")


@dataclass(frozen=True)
class Interval:
    """A percentile interval of a metric."""

    low: float
    high: float


@dataclass(frozen=True)
class Difference:
    """How much better model A is than model B on the same rows; positive is better.

    `estimate`, `low` and `high` are in the metric's unit, turned so that better is positive.
    `spread` is the standard deviation of the estimate times the root of the rows.
    """

    metric: str
    rows: int
    estimate: float
    low: float
    high: float
    spread: float
    confidence: float

    def rows_needed(self, margin: float) -> int | None:
        """Rows at which this effect would clear the margin; None where it is not above it."""
        effect = self.estimate - margin
        if effect <= 0:
            return None
        z = NormalDist().inv_cdf(0.5 + self.confidence / 2)
        return max(1, math.ceil((z * self.spread / effect) ** 2))


def bootstrap(  # noqa: PLR0913 - the rest are settings, by keyword
    labels: npt.ArrayLike,
    scores: npt.ArrayLike,
    *,
    metrics: Sequence[str] = METRICS,
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
    threshold: float = THRESHOLD,
) -> dict[str, Interval | None]:
    """The interval of each metric at a two-sided confidence; equal seeds give equal intervals.

    None where the metric cannot be had: scores that are not finite, no rows, or a metric that does
    not exist in more than one resample of twenty.
    """
    truth, given = checked(labels, scores)
    if len(truth) == 0 or not np.isfinite(given).all():
        return dict.fromkeys(metrics)
    model = _Resampled(truth, given, threshold)
    drawn: dict[str, list[Floats]] = {name: [] for name in metrics}
    for counts in _draw(len(truth), resamples, seed):
        for name, values in model.metrics(counts, metrics).items():
            drawn[name].append(values)
    return {name: _interval(np.concatenate(parts), confidence) for name, parts in drawn.items()}


def paired_difference(  # noqa: PLR0913 - the rest are settings, by keyword
    labels: npt.ArrayLike,
    a: npt.ArrayLike,
    b: npt.ArrayLike,
    metric: str,
    *,
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
    threshold: float = THRESHOLD,
) -> Difference | None:
    """How much better A's scores are than B's: both are scored on the same drawn rows.

    None where the difference cannot be had, as in `bootstrap`.
    """
    truth, first = checked(labels, a)
    _, second = checked(labels, b)
    sign = -1.0 if metric in LOWER_IS_BETTER else 1.0
    points = [
        score_binary(truth, scores, threshold=threshold)[metric] for scores in (first, second)
    ]
    if points[0] is None or points[1] is None:
        return None
    models = [_Resampled(truth, scores, threshold) for scores in (first, second)]
    drawn = np.concatenate(
        [
            sign * np.subtract(*(model.metrics(counts, [metric])[metric] for model in models))
            for counts in _draw(len(truth), resamples, seed)
        ]
    )
    interval = _interval(drawn, confidence)
    if interval is None:
        return None
    return Difference(
        metric=metric,
        rows=len(truth),
        estimate=sign * (points[0] - points[1]),
        low=interval.low,
        high=interval.high,
        spread=float(np.nanstd(drawn) * math.sqrt(len(truth))),
        confidence=confidence,
    )


class _Resampled:
    """One model's rows, ready to be weighted by how often a resample drew them."""

    def __init__(self, labels: Bools, scores: Floats, threshold: float) -> None:
        self._labels = labels
        self._scores = scores
        self._answers = scores >= threshold
        negatives, self._positives = np.flatnonzero(~labels), np.flatnonzero(labels)
        self._negatives = negatives[np.argsort(scores[negatives], kind="stable")]
        ordered = scores[self._negatives]
        # How many negatives score below each positive, and how many below or equal.
        self._below = np.searchsorted(ordered, scores[self._positives], side="left")
        self._up_to = np.searchsorted(ordered, scores[self._positives], side="right")

    def metrics(self, counts: Floats, names: Sequence[str]) -> dict[str, Floats]:
        """Each metric in each resample; counts are [resamples, rows]; NaN is "does not exist"."""
        rows = counts.shape[1]
        found: dict[str, Floats] = {}
        if "roc_auc" in names:
            found["roc_auc"] = self._roc_auc(counts)
        if "log_loss" in names:
            found["log_loss"] = counts @ log_losses(self._labels, self._scores) / rows
        if "brier" in names:
            found["brier"] = counts @ squared_errors(self._labels, self._scores) / rows
        if any(name in _CONFUSION for name in names):
            found.update(self._of_confusion(counts))
        return {name: found[name] for name in names}

    def _of_confusion(self, counts: Floats) -> dict[str, Floats]:
        hit = counts @ (self._labels & self._answers).astype(np.float64)
        answered = counts @ self._answers.astype(np.float64)
        positive = counts @ self._labels.astype(np.float64)
        rows = counts.shape[1]
        with np.errstate(invalid="ignore", divide="ignore"):
            return {
                "accuracy": (rows - answered - positive + 2 * hit) / rows,
                "precision": hit / answered,
                "recall": hit / positive,
                "f1": 2 * hit / (answered + positive),
            }

    def _roc_auc(self, counts: Floats) -> Floats:
        """Pairs won by the positives over all pairs; a tie is half won."""
        drawn = np.zeros((len(counts), len(self._negatives) + 1))
        np.cumsum(counts[:, self._negatives], axis=1, out=drawn[:, 1:])
        positive = counts[:, self._positives]
        beaten = np.take(drawn, self._below, axis=1)
        beaten += np.take(drawn, self._up_to, axis=1)
        won = np.einsum("ij,ij->i", positive, beaten) / 2
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(won / (positive.sum(axis=1) * drawn[:, -1]), dtype=np.float64)


def _draw(rows: int, resamples: int, seed: int) -> Iterator[Floats]:
    """How often each row is drawn, [a few resamples, rows] at a time."""
    generator = np.random.default_rng(seed)
    # Fixed steps: the same seed gives the same draws on every machine.
    step = max(1, min(resamples, _CELLS // rows))
    for start in range(0, resamples, step):
        size = min(step, resamples - start)
        drawn = generator.integers(0, rows, size=(size, rows), dtype=np.int32)
        drawn += np.arange(size, dtype=np.int32)[:, None] * rows
        counts = np.bincount(drawn.ravel(), minlength=size * rows)
        yield counts.reshape(size, rows).astype(np.float64)


def _interval(values: Floats, confidence: float) -> Interval | None:
    defined = values[np.isfinite(values)]
    if len(defined) < _LEAST_DEFINED * len(values):
        return None
    tail = (1 - confidence) / 2
    # Weibull's positions k / (n + 1): the default ones are too narrow where resamples are few.
    low, high = np.quantile(defined, [tail, 1 - tail], method="weibull")
    return Interval(low=float(low), high=float(high))
