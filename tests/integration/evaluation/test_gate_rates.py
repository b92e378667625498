"""How often the gate is right: equally good pairs are hardly ever promoted, planted gains mostly.

Every pair is judged by the whole rule, on arrays drawn anew. The improvement's interval is
two-sided at 95 %, so that 2.5 % of equal pairs pass by chance.
"""

import numpy as np
import numpy.typing as npt
import pytest

from ferryman.evaluation.gates import judge
from ferryman.evaluation.measures import make_measures
from ferryman.evaluation.rivals import champion_rival
from ferryman.spec.evaluation import ChampionGateSpec, GatesSpec, ThresholdSpec
from ferryman.spec.metrics import MetricName

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
BINARY = make_measures("binary")
SHARE = 0.3
# Distance of the two classes, in standard deviations, that gives an AUC of 0.72 and of 0.75.
CHAMPION, THREE_POINTS_BETTER = 0.8243, 0.9539


def gates(metric: MetricName) -> GatesSpec:
    return GatesSpec(
        thresholds={"accuracy": ThresholdSpec(min=0.5)},
        champion=ChampionGateSpec(metric=metric),
        min_rows=500,
        resamples=200,
    )


def probabilities(labels: Bools, noise: Floats, distance: float) -> Floats:
    """A calibrated model of the normal scores that lie at a distance for the two classes."""
    odds = np.log(SHARE / (1 - SHARE)) + distance * (labels * distance + noise - distance / 2)
    return np.asarray(1 / (1 + np.exp(-odds)), dtype=np.float64)


def pair(rows: int, seed: int, distance: float) -> tuple[Bools, Floats, Floats]:
    """Labels, a candidate at a distance, the champion; half of their noise is common to both.

    Two models of the same features have more in common than that, and are told apart more easily.
    """
    generator = np.random.default_rng(seed)
    labels = generator.random(rows) < SHARE
    common, first, second = generator.normal(0, np.sqrt(0.5), (3, rows))
    candidate = probabilities(labels, common + first, distance)
    return labels, candidate, probabilities(labels, common + second, CHAMPION)


def flipped(labels: Bools, right: float, generator: np.random.Generator) -> Floats:
    """Answers that are right at a rate, whatever the row."""
    answers = labels ^ (generator.random(len(labels)) >= right)
    return np.where(answers, 0.8, 0.2)


def promoted(metric: MetricName, labels: Bools, candidate: Floats, champion: Floats) -> bool:
    spec = gates(metric)
    verdict = judge(spec, BINARY, labels, candidate, champion_rival(spec, champion))
    assert (verdict.outcome == "passed") == (verdict.finding == "better")
    return verdict.outcome == "passed"


@pytest.mark.parametrize("metric", ["log_loss", "accuracy"])
def test_of_200_equally_good_pairs_less_than_5_percent_are_promoted(metric: MetricName) -> None:
    passed = [promoted(metric, *pair(600, 1000 + seed, CHAMPION)) for seed in range(200)]
    assert 0 < sum(passed) < 0.05 * len(passed)


def test_a_planted_gain_of_3_points_of_auc_passes_in_at_least_80_percent() -> None:
    # 4,000 rows, of which 30 % are positive; AUC 0.75 against 0.72.
    labels, *both = pair(100_000, 0, THREE_POINTS_BETTER)
    better, usual = (BINARY.score(labels, scores)["roc_auc"] or 0 for scores in both)
    assert better - usual == pytest.approx(0.03, abs=0.005)
    pairs = [pair(4000, 2000 + seed, THREE_POINTS_BETTER) for seed in range(40)]
    passed = [promoted("roc_auc", *arrays) for arrays in pairs]
    assert sum(passed) >= 0.8 * len(passed)


def test_a_planted_gain_of_3_points_of_accuracy_passes_in_at_least_80_percent() -> None:
    # 4,000 rows, 78 % right against 75 %, each by its own chance: the hardest pair to tell apart.
    generator = np.random.default_rng(3)
    passed = []
    for _ in range(60):
        labels = generator.random(4000) < 0.5
        candidate, champion = (flipped(labels, right, generator) for right in (0.78, 0.75))
        passed.append(promoted("accuracy", labels, candidate, champion))
    assert sum(passed) >= 0.8 * len(passed)
