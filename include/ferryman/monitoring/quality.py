"""Quality of the served predictions, on those whose labels are known.

A figure that cannot be had is None with the reason in words, never 0 and never NaN.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy import stats

from ferryman.runtime.score_column import score_array
from ferryman.spec.monitoring import QualitySpec

Scores = NDArray[np.float64]
Labels = NDArray[Any]
# The other rooms' functions, brought by the step: rooms do not import one another.
EncodeFunction = Callable[[Any], Labels]
ScoreFunction = Callable[[Labels, Scores], Mapping[str, float | None]]
IntervalFunction = Callable[[Labels, Scores, str], tuple[float, float] | None]


@dataclass(frozen=True)
class Calibration:
    """Calibration in the large: does the mean score meet the rate that was observed?

    Where the label is a number, its mean is the rate. difference = base_rate - mean_score, with an
    interval that takes a day, not a row, as the unit: the flights of one stormy day are late
    together.
    """

    mean_score: float
    base_rate: float
    difference: float
    low: float
    high: float

    @property
    def shifted(self) -> bool:
        """Whether the interval excludes no difference."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True)
class Quality:
    """Quality over one trailing window.

    metric, value, low, high: the declared metric and its bootstrap interval; predicted, labelled:
    events; coverage = labelled / predicted (None when nothing was predicted); metrics: all others.
    """

    metric: str
    text: str
    predicted: int
    labelled: int
    coverage: float | None
    value: float | None = None
    low: float | None = None
    high: float | None = None
    calibration: Calibration | None = None
    metrics: Mapping[str, float | None] | None = None

    def as_json(self) -> dict[str, Any]:
        """All of it as plain JSON."""
        return asdict(self)


def measure(  # noqa: PLR0913 - what is measured, and the functions that do it
    joined: Any,
    spec: QualitySpec,
    score: ScoreFunction,
    interval: IntervalFunction,
    *,
    encode: EncodeFunction | None = None,
    confidence: float = 0.95,
) -> Quality:
    """Measure a joined table (see monitoring.labels) against the declared need for labels.

    `score` gives metrics by name from labels and scores, `interval` the bounds of one metric; both
    take labels as `encode` makes them of the column, truth values where it is not given. Answers
    of several classes have no calibration in the large.
    """
    predicted = joined.num_rows
    labelled = joined.filter(pc.is_valid(joined["label"]))
    count = labelled.num_rows
    coverage = count / predicted if predicted else None
    if count < spec.min_labels:
        text = f"not enough labels (n={count} < {spec.min_labels})"
        return Quality(spec.metric, text, predicted, count, coverage)
    truth, scores = (encode or _truths)(labelled["label"]), score_array(labelled["score"])
    metrics = dict(score(truth, scores))
    value = metrics.get(spec.metric)
    calibration = None
    if scores.ndim == 1:
        calibration = _calibration(truth, scores, _days(labelled), confidence)
    if value is None:
        same = f" that are all {labelled['label'][0]}" if (truth == truth[0]).all() else ""
        text = f"{spec.metric} cannot be had from {count} labels{same}"
        return Quality(
            spec.metric, text, predicted, count, coverage, calibration=calibration, metrics=metrics
        )
    bounds = interval(truth, scores, spec.metric)
    low, high = bounds if bounds is not None else (None, None)
    return Quality(
        metric=spec.metric,
        text=f"{spec.metric} {value:.4f} on {count} labels",
        predicted=predicted,
        labelled=count,
        coverage=coverage,
        value=value,
        low=low,
        high=high,
        calibration=calibration,
        metrics=metrics,
    )


def _truths(column: Any) -> Labels:
    labels: Labels = column.to_numpy(zero_copy_only=False).astype(bool)
    return labels


def _days(table: Any) -> NDArray[np.int64]:
    """The day number of each row's event."""
    moments = table["event_time"].to_numpy(zero_copy_only=False)
    days: NDArray[np.int64] = moments.astype("datetime64[D]").astype(np.int64)
    return days


def _calibration(
    labels: Labels, scores: Scores, days: NDArray[np.int64], confidence: float
) -> Calibration | None:
    if len(labels) < 2:
        return None
    residual = labels.astype(np.float64) - scores
    mean = float(residual.mean())
    error, freedom = _clustered_error(residual, days)
    reach = float(stats.t.ppf((1 + confidence) / 2, freedom)) * error
    return Calibration(
        mean_score=float(scores.mean()),
        base_rate=float(labels.mean()),
        difference=mean,
        low=mean - reach,
        high=mean + reach,
    )


def _clustered_error(residual: Scores, days: NDArray[np.int64]) -> tuple[float, int]:
    """The standard error of a mean of rows that come in days, and its degrees of freedom.

    Source: Liang and Zeger (1986), with the usual correction for few clusters. One day alone says
    nothing about how days differ: its rows are taken one by one.
    """
    _, places = np.unique(days, return_inverse=True)
    clusters = int(places.max()) + 1
    centred = residual - residual.mean()
    if clusters < 2:
        return float(residual.std(ddof=1) / math.sqrt(len(residual))), len(residual) - 1
    sums = np.bincount(places, weights=centred)
    variance = clusters / (clusters - 1) * float(np.sum(sums**2)) / len(residual) ** 2
    return math.sqrt(variance), clusters - 1
