"""An estimate before labels come holds its stated error where scores mean what they meant."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from ferryman.evaluation.measures import make_measures
from ferryman.monitoring.estimate import (
    Estimate,
    calibrate,
    expected,
    is_estimated,
    with_error,
)
from ferryman.spec.metrics import METRICS_OF, Task

DAYS, ROWS = 120, 500
ESTIMATED = [name for name in METRICS_OF["binary"] if name != "calibration_error"]
Floats = np.ndarray[Any, np.dtype[np.float64]]


def weighted(task: Task, metric: str, classes: tuple[str, ...] = ()) -> Callable[..., float]:
    measures = make_measures(task, classes)

    def score(labels: Any, scores: Floats, weights: Floats) -> float:
        found = measures.resampled(labels, scores).metrics(weights[None, :], [metric])
        return float(found[metric][0])

    return score


def bent(probability: Floats) -> Floats:
    """Scores that are monotone in the probability, and no probabilities."""
    return np.asarray(probability**2 / (probability**2 + (1 - probability) ** 2))


def a_day(random: np.random.Generator, turned: float = 0.0) -> tuple[Any, Floats]:
    """Labels and scores of a day; inputs differ from day to day, what they mean by `turned`."""
    probability = random.beta(2, 3 + random.uniform(0, 2), ROWS)
    true = np.clip(probability + turned, 0.01, 0.99)
    return random.random(ROWS) < true, bent(probability)


def nights(metric: str, turned_from: int = DAYS) -> list[tuple[Estimate, float]]:
    """Each day's estimate, made before its labels came, and the value that came out."""
    random, measures = np.random.default_rng(11), make_measures("binary")
    past = [a_day(random) for _ in range(10)]
    calibrated = calibrate(*(np.concatenate(parts) for parts in zip(*past, strict=True)))
    assert calibrated is not None
    errors: list[float] = []
    found = []
    for night in range(DAYS):
        labels, scores = a_day(random, 0.25 if night >= turned_from else 0.0)
        value = expected(scores, calibrated(scores), weighted("binary", metric))
        assert value is not None
        truth = measures.score(labels, scores)[metric]
        assert truth is not None
        found.append((with_error(metric, value, ROWS, errors), truth))
        errors.append(truth - value)
    return found


@pytest.mark.parametrize("metric", ["log_loss", "roc_auc", "accuracy", "f1"])
def test_nine_of_ten_days_lie_within_the_stated_error(metric: str) -> None:
    told = [(one, truth) for one, truth in nights(metric) if one.low is not None]
    assert len(told) == DAYS - 3
    inside = [one.low <= truth <= one.high for one, truth in told]
    assert np.mean(inside) >= 0.9
    assert sum(one.growing for one, _ in told) <= 3
    # And the interval says something: it is no wider than a few errors.
    assert told[-1][0].high - told[-1][0].low < 8 * told[-1][0].error


def test_scores_that_came_to_mean_something_else_are_told_by_a_growing_error() -> None:
    turned = 60
    told = [one for one, _ in nights("log_loss", turned)]
    assert not told[turned].growing
    assert told[turned + 9].growing
    assert told[turned + 9].error > 1.5 * told[turned].error
    assert "do not rely on it" in told[turned + 9].text


@pytest.mark.parametrize("days", [24, 60, 180])
def test_a_weeks_estimate_has_the_error_of_weeks(days: int) -> None:
    random = np.random.default_rng(days)
    inside, wider = [], []
    for _ in range(200):
        errors = random.normal(0, 0.05, days + 7)
        found = with_error("log_loss", 0.5, 7000, errors[:days].tolist(), span=7)
        assert found.low is not None
        truth = 0.5 + errors[days:].mean()
        inside.append(found.low <= truth <= found.high)
        wider.append(found.error < np.abs(errors[:days]).mean())
    assert np.mean(inside) >= 0.9
    assert np.mean(wider) > 0.95
    assert (found.span, found.days) == (7, days)
    few = with_error("log_loss", 0.5, 7000, [0.1] * 20, span=7)
    assert (few.span, few.error) == (1, pytest.approx(0.1))


def test_without_matured_days_the_error_is_said_to_be_unknown() -> None:
    found = with_error("roc_auc", 0.7, 500, [0.01, -0.02])
    assert (found.error, found.low, found.high) == (None, None, None)
    assert "its error is not known yet" in found.text
    assert "cannot see" in found.text


def test_every_estimated_metric_of_certain_answers_is_the_metric() -> None:
    random = np.random.default_rng(3)
    scores = random.random(300)
    truth = random.random(300) < scores
    figures = make_measures("binary").score(truth, scores)
    for metric in ESTIMATED:
        assert is_estimated("binary", metric)
        value = expected(scores, truth.astype(float), weighted("binary", metric))
        assert value == pytest.approx(figures[metric])


def test_classes_are_estimated_and_sum_to_one() -> None:
    random = np.random.default_rng(5)
    classes = ("red", "green", "blue")
    sure = random.dirichlet([1, 2, 3], 28_000)
    truth = (random.random(len(sure))[:, None] > sure.cumsum(axis=1)).sum(axis=1)
    sharpened = sure**2 / (sure**2).sum(axis=1, keepdims=True)
    calibrated = calibrate(truth[:8000], sharpened[:8000])
    assert calibrated is not None
    fresh = sharpened[8000:]
    probable = calibrated(fresh)
    assert probable.sum(axis=1) == pytest.approx(np.ones(len(fresh)))
    measures = make_measures("multiclass", classes)
    figures = measures.score(truth[8000:], fresh)
    for metric in ("log_loss", "accuracy", "roc_auc", "f1_macro"):
        value = expected(fresh, probable, weighted("multiclass", metric, classes))
        assert value == pytest.approx(figures[metric], abs=0.04)


def test_what_cannot_be_estimated_is_not() -> None:
    assert not is_estimated("regression", "rmse")
    assert not is_estimated("binary", "calibration_error")
    assert calibrate(np.ones(50, bool), np.full(50, 0.9)) is None
    nothing = expected(np.zeros(0), np.zeros(0), weighted("binary", "log_loss"))
    assert nothing is None
