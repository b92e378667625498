"""Estimates a metric before labels come, from how probable each answer is to be right.

A calibrated probability says how often an answer like this one comes true. So the metric that is to
be expected is that of every row counted as true with the weight p, and as false with 1 - p. The
probabilities are calibrated on labelled answers of the same version. It is an estimate, and by
construction it holds that the relation between features and label stays what it was: where that
changes (concept drift) it is wrong, and only the labels can tell. So it comes with its error on
days whose labels came later. Idea: confidence-based performance estimation, as in NannyML.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from ferryman.spec.metrics import METRICS_OF, Task

Floats = NDArray[np.float64]
# A metric of labels and scores with a weight for each row, brought by the step.
WeightedScore = Callable[[NDArray[Any], Floats, Floats], float | None]
# Probabilities of each class [rows, classes], or of truth [rows], from scores of the same shape.
Calibrated = Callable[[Floats], Floats]

# What chance does to bins is most of a small calibration error: expected rows do not tell it.
_NOT_ESTIMATED = frozenset({"calibration_error"})
_ISOTONIC = 1000  # labels; with fewer its steps follow chance, and a logistic curve is fitted
_MOST_ROWS = 200_000
_MOST_CELLS = 5_000_000
_FEW_CLASSES, _MOST_OF_CLASSES = 20, 20_000
_EDGE = 1e-6
_CONFIDENCE, _CONFORMAL = 0.95, 19
_RECENT = 7
LEAST_ERRORS = 3
CAUTION = "it cannot see that the same inputs come to mean another label"


@dataclass(frozen=True)
class Estimate:
    """A metric that was estimated, and how well such estimates did where labels came later.

    error: mean absolute error over the `days` days that matured, as windows of `span` days: of the
    estimate's own length where there are three of them, of single days before that, whose errors
    are larger; low, high: where 95 of 100 such values lie if the errors go on as they were (None
    below three days); growing: the newest days' errors are beyond chance larger than the earlier
    ones, so that the estimate should not be relied on.
    """

    metric: str
    value: float
    answers: int
    text: str
    error: float | None = None
    low: float | None = None
    high: float | None = None
    days: int = 0
    span: int = 1
    growing: bool = False

    def as_json(self) -> dict[str, Any]:
        """All of it as plain JSON."""
        return asdict(self)


def is_estimated(task: Task, metric: str) -> bool:
    """Whether a metric of a task can be estimated from probabilities."""
    return task != "regression" and metric in METRICS_OF[task] and metric not in _NOT_ESTIMATED


def calibrate(labels: NDArray[Any], scores: Floats) -> Calibrated | None:
    """What the scores of labelled answers have meant; None where all are of one class.

    labels: truth values or places of classes [rows]; scores [rows] or [rows, classes]. Isotonic
    regression, of few labels a logistic curve (Niculescu-Mizil and Caruana 2005). Of up to twenty
    classes a multinomial model of the logarithms (Kull et al. 2019, "Beyond temperature scaling"),
    of more of them each against all others. The newest 200,000 rows count, of classes 20,000.
    """
    most = _MOST_ROWS if scores.ndim == 1 else _MOST_OF_CLASSES
    labels, scores = labels[-most:], scores[-most:]
    if not len(labels) or (labels == labels[0]).all():
        return None
    if scores.ndim == 1:
        return _curve(labels.astype(bool), scores)
    return (
        _together(labels, scores)
        if scores.shape[1] <= _FEW_CLASSES
        else _one_by_one(labels, scores)
    )


def _together(labels: NDArray[Any], scores: Floats) -> Calibrated:
    import warnings

    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    with warnings.catch_warnings():
        # A fit that was not finished is a calibration, too: how good it is the errors tell.
        warnings.simplefilter("ignore", ConvergenceWarning)
        fitted = LogisticRegression(C=10.0, max_iter=200).fit(_logarithms(scores), labels)
    seen = fitted.classes_.astype(np.int64)

    def of_classes(given: Floats) -> Floats:
        found = np.zeros_like(given)
        found[:, seen] = fitted.predict_proba(_logarithms(given))
        return found

    return of_classes


def _logarithms(scores: Floats) -> Floats:
    return np.asarray(np.log(np.maximum(scores, _EDGE)), dtype=np.float64)


def _one_by_one(labels: NDArray[Any], scores: Floats) -> Calibrated:
    curves = [_curve(labels == place, scores[:, place]) for place in range(scores.shape[1])]

    def of_classes(given: Floats) -> Floats:
        found = np.stack([curve(given[:, place]) for place, curve in enumerate(curves)], axis=1)
        found = np.maximum(found, _EDGE)
        return np.asarray(found / found.sum(axis=1, keepdims=True), dtype=np.float64)

    return of_classes


def expected(scores: Floats, calibrated: Floats, score: WeightedScore) -> float | None:
    """The metric to be expected of scores, where `calibrated` says how probable each class is.

    Of very many rows an even sample; None where it cannot be had.
    """
    classes = 2 if scores.ndim == 1 else scores.shape[1]
    most = min(_MOST_ROWS, max(1, _MOST_CELLS // classes))
    if len(scores) > most:
        places = np.linspace(0, len(scores) - 1, most).astype(np.int64)
        scores, calibrated = scores[places], calibrated[places]
    rows = len(scores)
    if not rows or not np.isfinite(scores).all():
        return None
    if scores.ndim == 1:
        truth: NDArray[Any] = np.repeat([True, False], rows)
        weights = np.concatenate([calibrated, 1 - calibrated])
    else:
        truth = np.repeat(np.arange(classes), rows)
        weights = calibrated.T.reshape(-1)
    everything = np.concatenate([scores] * classes)
    there = weights > 0
    value = score(truth[there], everything[there], weights[there])
    return value if value is not None and math.isfinite(value) else None


def with_error(
    metric: str, value: float, answers: int, errors: Sequence[float], span: int = 1
) -> Estimate:
    """An estimate over `span` days beside the errors (value less estimate) of matured days.

    errors: of single days, oldest first. Those of a window are the means of its days'.
    """
    daily = np.asarray(errors, dtype=np.float64)
    days = len(daily)
    told = f"{metric} estimated at {value:.4f} from {answers} answers, before their labels"
    if days < LEAST_ERRORS:
        text = f"{told}; on {days} days that matured: its error is not known yet; {CAUTION}"
        return Estimate(metric, value, answers, text, days=days)
    used = span if days // span >= LEAST_ERRORS else 1
    sizes = np.abs(np.convolve(daily, np.full(used, 1 / used), mode="valid"))
    error, reach = float(sizes.mean()), _reach(sizes, days // used)
    grows = _growing(np.abs(daily))
    warned = "; its error grows: do not rely on it" if grows else ""
    windows = f"{days} days" if used == 1 else f"windows of {used} days, {days} days in all,"
    return Estimate(
        metric=metric,
        value=value,
        answers=answers,
        text=f"{told}; mean error {error:.4f} on {windows} that matured{warned}; {CAUTION}",
        error=error,
        low=value - reach,
        high=value + reach,
        days=days,
        span=used,
        growing=grows,
    )


def _curve(hits: NDArray[np.bool_], scores: Floats) -> Calibrated:
    """How often scores of one class came true."""
    if hits.all() or not hits.any():
        share = (float(hits.sum()) + 1) / (len(hits) + 2)
        return lambda given: np.full(len(given), share)
    if len(hits) >= _ISOTONIC:
        from sklearn.isotonic import IsotonicRegression

        fitted = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip")
        fitted.fit(scores, hits.astype(np.float64))
        return lambda given: np.asarray(fitted.predict(given), dtype=np.float64)
    from sklearn.linear_model import LogisticRegression

    line = LogisticRegression(C=100.0).fit(_logits(scores), hits)
    return lambda given: np.asarray(line.predict_proba(_logits(given))[:, 1], dtype=np.float64)


def _logits(scores: Floats) -> Floats:
    inside = np.clip(scores, _EDGE, 1 - _EDGE)
    return np.asarray(np.log(inside / (1 - inside))[:, None], dtype=np.float64)


def _reach(sizes: Floats, windows: int) -> float:
    """How far off the next estimate may be: a prediction interval that the sizes of errors give.

    From 19 windows on (those that share days count once) the order statistic that holds whatever
    their distribution (split conformal prediction, Vovk 2005), before that Student's interval.
    """
    if windows >= _CONFORMAL:
        rank = math.ceil((len(sizes) + 1) * _CONFIDENCE)
        return float(np.sort(sizes)[min(rank, len(sizes)) - 1])
    spread = math.sqrt(float(np.mean(sizes**2)) * (1 + 1 / windows))
    return float(stats.t.ppf((1 + _CONFIDENCE) / 2, windows)) * spread


def _growing(sizes: Floats) -> bool:
    if len(sizes) < 2 * _RECENT:
        return False
    newest, before = sizes[-_RECENT:], sizes[:-_RECENT]
    if newest.mean() < 2 * before.mean():
        return False
    return bool(stats.mannwhitneyu(newest, before, alternative="greater").pvalue < 1e-4)
