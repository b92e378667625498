"""How often evidence errs when it is looked at all the time, and that it finds what is planted.

Rates are those of many simulated stages: their bounds leave room for chance, not for a mistake.
"""

import math

import numpy as np
import pytest
from scipy import special, stats
from services.long_tests import seeds

from ferryman.rollout import percentiles, rates
from ferryman.rollout.always_valid import arms_over_time, boundary, compare_arms
from ferryman.rollout.predictions import Predicted, distance
from ferryman.rollout.rates import Counted

ONE_IN_TWENTY = 0.05


def most_by_chance(rate: float, tries: int) -> float:
    """A share of tries that an event of that rate exceeds once in ten thousand."""
    return float(stats.binom.ppf(0.9999, tries, rate) / tries)


def proofs(n1: np.ndarray, x1: np.ndarray, n0: np.ndarray, x0: np.ndarray) -> np.ndarray:
    """`rates.increase_proof` of no increase, in arrays."""
    (a1, b1), (a0, b0) = rates.CANDIDATE, rates.CHAMPION
    mixture = special.betaln(a1 + x1, b1 + n1 - x1) - special.betaln(a1, b1)
    mixture += special.betaln(a0 + x0, b0 + n0 - x0) - special.betaln(a0, b0)
    n, x = n1 + n0, x1 + x0
    together = special.xlogy(x, x / n) + special.xlog1py(n - x, -x / n)
    worse = x1 / np.maximum(n1, 1) > x0 / np.maximum(n0, 1)
    return np.where(worse, mixture - together, -math.inf)


@pytest.mark.parametrize("seed", seeds(1, 2, 3))
@pytest.mark.parametrize("weight", [0.05, 0.5])
def test_the_same_rate_of_errors_is_proven_worse_no_more_often_than_stated(
    seed: int, weight: float
) -> None:
    random = np.random.default_rng(seed)
    tries, requests, level = 300, 10_000, ONE_IN_TWENTY
    wrong = 0
    for rate in np.resize([0.001, 0.02, 0.3], tries):
        arm, failed = random.random(requests) < weight, random.random(requests) < rate
        n1, x1 = np.cumsum(arm), np.cumsum(arm & failed)
        n0, x0 = np.cumsum(~arm), np.cumsum(~arm & failed)
        proof = proofs(n1, x1, n0, x0)
        wrong += bool((proof >= math.log(1 / level)).any())
        at = requests // 3
        ours, theirs = Counted(int(x1[at]), int(n1[at])), Counted(int(x0[at]), int(n0[at]))
        if ours.rate > theirs.rate:
            assert rates.increase_proof(ours, theirs) == pytest.approx(proof[at], abs=1e-6)
    assert wrong / tries <= most_by_chance(level, tries)


@pytest.mark.parametrize("seed", seeds(1, 2))
def test_the_bound_of_an_increase_holds_at_all_looks(seed: int) -> None:
    random = np.random.default_rng(seed)
    tries, wrong = 150, 0
    for _ in range(tries):
        ours = np.cumsum(random.random(2000) < 0.08)
        theirs = np.cumsum(random.random(2000) < 0.05)
        wrong += any(
            rates.proven_increase(
                Counted(int(ours[n - 1]), n), Counted(int(theirs[n - 1]), n), ONE_IN_TWENTY
            )
            > 0.03
            for n in range(50, 2001, 150)
        )
    assert wrong / tries <= most_by_chance(ONE_IN_TWENTY, tries)


@pytest.mark.parametrize("seed", seeds(1, 2, 3))
def test_the_percentile_lies_between_its_ranks_at_all_looks(seed: int) -> None:
    random = np.random.default_rng(seed)
    tries, looks = 500, range(50, 4001, 10)
    ranks = np.array([percentiles.always_ranks(n, ONE_IN_TWENTY) for n in looks])
    below = np.cumsum(random.random((tries, 4000)) < percentiles.SHARE, axis=1)
    seen = below[:, np.array(looks) - 1]
    outside = (seen < ranks[:, 0]) | (seen > ranks[:, 1])
    assert outside.any(axis=1).mean() <= most_by_chance(ONE_IN_TWENTY, tries)
    assert (outside[:, -1].mean()) < ONE_IN_TWENTY / 2


@pytest.mark.parametrize("seed", seeds(1, 2, 3))
def test_equal_predictions_are_never_proven_to_be_shifted(seed: int) -> None:
    random = np.random.default_rng(seed)
    for _ in range(40):
        ours, theirs = random.beta(2, 5, 1500), random.beta(2, 5, 1500)
        for n in range(60, 1501, 60):
            found = distance(Predicted(ours[:n], n), Predicted(theirs[:n], n), "binary")
            assert found.proven == 0.0


def brier(random: np.random.Generator, count: int) -> np.ndarray:
    chance = random.beta(2, 2, count)
    return (chance - (random.random(count) < chance)) ** 2


LOSSES = {
    "brier": brier,
    "log_loss": lambda random, count: np.minimum(random.lognormal(-1, 1.2, count), 15.0),
    "wrong_class": lambda random, count: (random.random(count) < 0.05).astype(float),
}


def answers(
    random: np.random.Generator, losses: str, shares: np.ndarray, difference: float
) -> tuple[np.ndarray, np.ndarray]:
    """Losses of both arms in their order, and which are the candidate's."""
    arm = random.random(len(shares)) < shares
    return LOSSES[losses](random, len(shares)) + difference * arm, arm


def looks(arm: np.ndarray) -> np.ndarray:
    """Places of every fiftieth answer, once both arms have a hundred."""
    places = np.arange(50, len(arm) + 1, 50) - 1
    count = np.cumsum(arm)[places]
    return places[np.minimum(count, places + 1 - count) >= 100]


def ever_claimed(
    random: np.random.Generator, losses: str, shares: np.ndarray, difference: float, tests: int
) -> float:
    """How often the interval ever excludes 0, looked at after every 50 labels."""
    ever = 0
    for _ in range(tests):
        drawn, arm = answers(random, losses, shares, difference)
        effects, halves = arms_over_time(drawn, arm, np.where(arm, shares, 1 - shares), 0.05)
        at = looks(arm)
        ever += bool((np.abs(effects[at]) > halves[at]).any())
    return ever / tests


EVENLY = np.full(3000, 0.5)
IN_STAGES = np.repeat([0.05, 0.25, 0.5], [1500, 750, 750])


@pytest.mark.parametrize("seed", seeds(1, 2, 3))
@pytest.mark.parametrize("losses", ["brier", "log_loss", "wrong_class"])
def test_models_that_are_alike_are_told_apart_in_one_test_of_twenty_at_most(
    seed: int, losses: str
) -> None:
    random = np.random.default_rng(seed)
    tests = 100
    for shares in (EVENLY, np.full(3000, 0.05), IN_STAGES):
        ever = ever_claimed(random, losses, shares, 0.0, tests)
        assert ever <= most_by_chance(ONE_IN_TWENTY, tests)


@pytest.mark.parametrize("seed", seeds(1, 2))
def test_a_t_test_that_is_looked_at_as_often_errs_far_more(seed: int) -> None:
    random = np.random.default_rng(seed)
    naive = 0
    for _ in range(60):
        drawn, arm = answers(random, "brier", EVENLY, 0.0)
        naive += any(
            stats.ttest_ind(drawn[: n + 1][arm[: n + 1]], drawn[: n + 1][~arm[: n + 1]]).pvalue
            < ONE_IN_TWENTY
            for n in looks(arm)[::2]
        )
    assert naive / 60 > 2 * ONE_IN_TWENTY


@pytest.mark.parametrize("seed", seeds(1, 2))
@pytest.mark.parametrize("shares", [EVENLY, IN_STAGES], ids=["evenly", "in stages"])
def test_a_planted_difference_is_found(seed: int, shares: np.ndarray) -> None:
    ever = ever_claimed(np.random.default_rng(seed), "brier", shares, 0.07, 30)
    assert ever > 0.9


@pytest.mark.parametrize("seed", seeds(1, 2))
def test_repeated_entities_are_not_taken_for_new_ones(seed: int) -> None:
    random = np.random.default_rng(seed)
    tests, labels, people = 80, 3000, 300
    ever, ever_alone = 0, 0
    for _ in range(tests):
        entities = random.integers(0, people, labels)
        losses = random.beta(2, 5, people)[entities] + 0.05 * random.random(labels)
        arm = (random.random(people) < 0.25)[entities]
        chances = np.where(arm, 0.25, 0.75)
        found = [[False], [False]]
        for n in range(400, labels + 1, 200):
            for kept, groups in zip(found, (entities[:n], None), strict=True):
                interval = compare_arms(
                    losses[:n], arm[:n], chances[:n], significance=0.05, entities=groups
                )
                kept.append(not interval.low <= 0 <= interval.high)
        ever, ever_alone = ever + any(found[0]), ever_alone + any(found[1])
    assert ever / tests <= most_by_chance(ONE_IN_TWENTY, tests)
    assert ever_alone / tests > 0.2


def test_the_boundary_is_crossed_by_a_random_walk_as_rarely_as_stated() -> None:
    random = np.random.default_rng(1)
    steps = np.arange(1, 20_001, dtype=np.float64)
    far = boundary(steps, steps, ONE_IN_TWENTY)
    walks = np.cumsum(random.standard_normal((300, 20_000)), axis=1)
    crossed = (np.abs(walks) > far).any(axis=1).mean()
    assert 0.005 < crossed <= most_by_chance(ONE_IN_TWENTY, 300)
