"""What the stated error of an estimate is worth where days change: as docs/monitoring.md tells."""

from typing import Any

import numpy as np
import pytest

from ferryman.evaluation.measures import make_measures
from ferryman.monitoring.estimate import calibrate, expected, with_error

MEASURES, ROWS, CHANGED, DAYS = make_measures("binary"), 500, 40, 70


def a_day(random: np.random.Generator, change: str) -> tuple[Any, Any]:
    """Labels, and scores that are monotone in their chance and no probabilities."""
    a, b = 2.0, 3 + random.uniform(0, 2)
    if change == "covariates":
        a, b = 4.0, 2 + random.uniform(0, 1)
    chance = random.beta(a, b, ROWS)
    by = {"weather": random.normal(0, 0.1), "concept": 0.25}.get(change, 0.0)
    labels = random.random(ROWS) < np.clip(chance + by, 0.01, 0.99)
    return labels, chance**2 / (chance**2 + (1 - chance) ** 2)


def score(labels: Any, scores: Any, weights: Any) -> float:
    found = MEASURES.resampled(labels, scores).metrics(weights[None, :], ["log_loss"])
    return float(found["log_loss"][0])


def lived(change: str, seed: int) -> tuple[float, float, float]:
    """Of the days after a change: share within the interval, mean error, and the stated one."""
    random = np.random.default_rng(seed)
    usual = "weather" if change == "weather" else "nothing"
    past = [a_day(random, usual) for _ in range(10)]
    calibrated = calibrate(*(np.concatenate(parts) for parts in zip(*past, strict=True)))
    assert calibrated is not None
    errors: list[float] = []
    told = []
    for place in range(DAYS):
        labels, scores = a_day(random, change if place >= CHANGED else usual)
        value = expected(scores, calibrated(scores), score)
        truth = MEASURES.score(labels, scores)["log_loss"]
        assert value is not None
        assert truth is not None
        found = with_error("log_loss", value, ROWS, errors)
        if place >= CHANGED:
            assert found.low is not None
            told.append((found.low <= truth <= found.high, abs(truth - value), found.error))
        errors.append(truth - value)
    inside, real, stated = np.mean(np.asarray(told, dtype=float), axis=0)
    return float(inside), float(real), float(stated)


@pytest.mark.parametrize(
    ("change", "least_inside", "most_understated"),
    [("nothing", 0.9, 1.3), ("weather", 0.85, 1.4), ("covariates", 0.7, 2.2)],
)
def test_the_stated_error_holds_where_scores_mean_what_they_meant(
    change: str, least_inside: float, most_understated: float
) -> None:
    inside, real, stated = np.mean([lived(change, seed) for seed in range(2)], axis=0)
    assert inside >= least_inside
    assert real <= most_understated * stated


def test_it_does_not_where_the_same_inputs_mean_another_label() -> None:
    inside, real, stated = lived("concept", 1)
    assert inside < 0.85
    assert real > 2 * stated
