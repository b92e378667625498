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

from ferryman.evaluation.measures import Measures
from ferryman.evaluation.metrics import Floats
from ferryman.spec.metrics import LOWER_IS_BETTER

# Cells of the count matrix that are held at once: 1 M doubles are 8 MB.
_CELLS = 1_000_000
# More rows than anybody has are no advice.
_MOST_ROWS = 1e12
# An interval needs the metric to exist in nearly every resample.
_LEAST_DEFINED = 0.95
# Chance alone makes this error larger, and that of a resample, which repeats rows, larger again.
_BIASED = frozenset({"calibration_error"})


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
        """Rows at which this effect would lie clear of the margin, on the side where it is.

        None where it is at the margin, or so near that no number of rows would tell.
        """
        effect = abs(self.estimate - margin)
        if effect == 0:
            return None
        z = NormalDist().inv_cdf(0.5 + self.confidence / 2)
        needed = (z * self.spread / effect) ** 2
        return max(1, math.ceil(needed)) if needed < _MOST_ROWS else None


def bootstrap(  # noqa: PLR0913 - the rest are settings, by keyword
    measures: Measures,
    labels: npt.ArrayLike,
    predictions: npt.ArrayLike,
    *,
    metrics: Sequence[str] | None = None,
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Interval | None]:
    """The interval of each metric at a two-sided confidence; equal seeds give equal intervals.

    None where the metric cannot be had: predictions that are not finite, no rows, or a metric that
    does not exist in more than one resample of twenty. Without `metrics`, those of the task.
    """
    names = measures.names if metrics is None else tuple(metrics)
    truth, given = measures.checked(labels, predictions)
    if len(truth) == 0 or not np.isfinite(given).all():
        return dict.fromkeys(names)
    model = measures.resampled(truth, given)
    points = model.metrics(np.ones((1, len(truth))), names)
    drawn: dict[str, list[Floats]] = {name: [] for name in names}
    for counts in draw(len(truth), resamples, seed):
        for name, values in model.metrics(counts, names).items():
            drawn[name].append(values)
    found: dict[str, Interval | None] = {}
    for name, parts in drawn.items():
        values = _centred(name, np.concatenate(parts), float(points[name][0]))
        found[name] = percentile_interval(
            np.maximum(values, 0.0) if name in _BIASED else values, confidence
        )
    return found


def paired_difference(  # noqa: PLR0913 - the rest are settings, by keyword
    measures: Measures,
    labels: npt.ArrayLike,
    a: npt.ArrayLike,
    b: npt.ArrayLike,
    metric: str,
    *,
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> Difference | None:
    """How much better A's answers are than B's: both are scored on the same drawn rows.

    None where the difference cannot be had, as in `bootstrap`.
    """
    truth, first = measures.checked(labels, a)
    _, second = measures.checked(labels, b)
    if len(truth) == 0 or not (np.isfinite(first).all() and np.isfinite(second).all()):
        return None
    sign = -1.0 if metric in LOWER_IS_BETTER else 1.0
    models = [measures.resampled(truth, given) for given in (first, second)]

    def difference(counts: Floats) -> Floats:
        of_a, of_b = (model.metrics(counts, [metric])[metric] for model in models)
        return np.asarray(sign * (of_a - of_b), dtype=np.float64)

    estimate = float(difference(np.ones((1, len(truth))))[0])
    drawn = np.concatenate([difference(counts) for counts in draw(len(truth), resamples, seed)])
    drawn = _centred(metric, drawn, estimate)
    interval = percentile_interval(drawn, confidence)
    if interval is None or not math.isfinite(estimate):
        return None
    return Difference(
        metric=metric,
        rows=len(truth),
        estimate=estimate,
        low=interval.low,
        high=interval.high,
        spread=float(np.nanstd(drawn) * math.sqrt(len(truth))),
        confidence=confidence,
    )


def _centred(name: str, drawn: Floats, estimate: float) -> Floats:
    """Draws of a metric whose resamples lie to one side of it, moved to lie around it."""
    if name not in _BIASED or not math.isfinite(estimate):
        return drawn
    return np.asarray(drawn - np.nanmean(drawn) + estimate, dtype=np.float64)


def draw(rows: int, resamples: int, seed: int) -> Iterator[Floats]:
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


def percentile_interval(values: Floats, confidence: float) -> Interval | None:
    """The interval of resampled values [resamples]; None where too many of them are NaN."""
    defined = values[np.isfinite(values)]
    if len(defined) < _LEAST_DEFINED * len(values):
        return None
    tail = (1 - confidence) / 2
    # Weibull's positions k / (n + 1): the default ones are too narrow where resamples are few.
    low, high = np.quantile(defined, [tail, 1 - tail], method="weibull")
    return Interval(low=float(low), high=float(high))
