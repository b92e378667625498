"""Labelled answers of two models with a known difference, looked at after every 50 labels."""

from dataclasses import dataclass

import numpy as np

from ferryman.rollout.always_valid import arms_over_time

Floats = np.ndarray
LEAST_OF_EACH = 100
_NAIVE = 1.96


@dataclass(frozen=True)
class Looked:
    """Over many tests: the share that ever ended, and the labels of the median one (of all)."""

    always_valid: float
    naive: float
    median: float


def brier(random: np.random.Generator, count: int) -> Floats:
    """Losses of calibrated probabilities."""
    chance = random.beta(2, 2, count)
    losses: Floats = (chance - (random.random(count) < chance)) ** 2
    return losses


def log_loss(random: np.random.Generator, count: int) -> Floats:
    """Losses with a heavy tail, cut at 15."""
    losses: Floats = np.minimum(random.lognormal(-1, 1.2, count), 15.0)
    return losses


def wrong_class(random: np.random.Generator, count: int) -> Floats:
    """0 or 1, rarely 1."""
    losses: Floats = (random.random(count) < 0.05).astype(float)
    return losses


LOSSES = {"brier": brier, "log_loss": log_loss, "wrong_class": wrong_class}


def look_often(  # noqa: PLR0913 - a truth, and how it is looked at
    loss: str,
    difference: float,
    *,
    share: float,
    tests: int,
    labels: int = 5000,
    every: int = 50,
    significance: float = 0.05,
    seed: int = 1,
) -> Looked:
    """How often a difference from 0 is ever claimed, by the interval and by a t-test."""
    random = np.random.default_rng(seed)
    looks = np.arange(every, labels + 1, every) - 1
    found, naive, when = 0, 0, np.full(tests, np.inf)
    for test in range(tests):
        arm = random.random(labels) < share
        losses = LOSSES[loss](random, labels) + difference * arm
        effects, halves = arms_over_time(losses, arm, np.where(arm, share, 1 - share), significance)
        count = np.cumsum(arm)[looks]
        enough = np.minimum(count, looks + 1 - count) >= LEAST_OF_EACH
        claimed = enough & (np.abs(effects[looks]) > halves[looks])
        found += bool(claimed.any())
        if claimed.any():
            when[test] = looks[claimed.argmax()] + 1
        naive += bool((enough & (np.abs(t_statistic(losses, arm)[looks]) > _NAIVE)).any())
    return Looked(found / tests, naive / tests, float(np.median(when)))


def t_statistic(losses: Floats, arm: np.ndarray) -> Floats:
    """Welch's t of both arms after each answer; 0 where it is not defined."""
    means, squares = [], []
    for chosen in (arm, ~arm):
        count = np.maximum(np.cumsum(chosen), 1)
        mean = np.cumsum(losses * chosen) / count
        spread = np.maximum(np.cumsum(losses**2 * chosen) / count - mean**2, 0.0)
        means.append(mean)
        squares.append(spread / count)
    error = np.sqrt(squares[0] + squares[1])
    t: Floats = np.divide(means[0] - means[1], error, out=np.zeros_like(error), where=error > 0)
    return t
