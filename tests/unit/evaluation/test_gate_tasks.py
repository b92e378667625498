"""The gate's rule for classes and numbers: the same rule, other measures."""

import numpy as np
import numpy.typing as npt
import pytest

from ferryman.evaluation.gates import judge
from ferryman.evaluation.measures import make_measures
from ferryman.evaluation.rivals import champion_rival, constant_rival
from ferryman.spec.evaluation import ChampionGateSpec, GatesSpec, ThresholdSpec
from ferryman.spec.metrics import MetricName

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]
CLASSES = ("cat", "dog", "owl")
OF_CLASSES, OF_NUMBERS = make_measures("multiclass", CLASSES), make_measures("regression")


def gates(threshold: MetricName, bound: ThresholdSpec, metric: MetricName) -> GatesSpec:
    champion = ChampionGateSpec(metric=metric)
    return GatesSpec(thresholds={threshold: bound}, champion=champion, min_rows=500, resamples=200)


def animals(rows: int, strength: float, seed: int = 0) -> tuple[Places, Floats]:
    """Labels by a seed, and probabilities that know them with more or less strength."""
    labels = np.random.default_rng(0).integers(0, 3, rows)
    odds = np.random.default_rng(seed + 1).normal(0, 1, (rows, 3))
    odds[np.arange(rows), labels] += strength
    scores = np.exp(odds)
    return labels, scores / scores.sum(axis=1, keepdims=True)


def test_classes_against_a_champion_and_against_a_constant() -> None:
    spec = gates("accuracy", ThresholdSpec(min=0.5), "log_loss")
    labels, good = animals(1500, 1.5)
    _, poor = animals(1500, 1.0, seed=5)
    assert judge(spec, OF_CLASSES, labels, good, champion_rival(spec, poor)).outcome == "passed"
    assert judge(spec, OF_CLASSES, labels, poor, champion_rival(spec, good)).finding == "worse"
    shares = constant_rival(spec, "multiclass", 3, np.array([0, 0, 1, 2]), 1500)
    assert shares.predictions.shape == (1500, 3)
    assert shares.predictions[7].tolist() == [0.5, 0.25, 0.25]
    first = judge(spec, OF_CLASSES, labels, good, shares)
    assert first.outcome == "passed"
    assert "constant answer of the training class shares" in first.text


def test_numbers_against_a_champion_and_against_a_constant() -> None:
    spec = gates("rmse", ThresholdSpec(max=1.5), "r2")
    generator = np.random.default_rng(0)
    labels = generator.normal(10, 3, 1000)
    good, poor = (labels + generator.normal(0, spread, 1000) for spread in (0.8, 1.2))
    assert judge(spec, OF_NUMBERS, labels, good, champion_rival(spec, poor)).outcome == "passed"
    assert judge(spec, OF_NUMBERS, labels, poor, champion_rival(spec, good)).finding == "worse"
    mean = constant_rival(spec, "regression", 0, np.array([8.0, 12.0]), 1000)
    assert mean.predictions[0] == 10.0
    first = judge(spec, OF_NUMBERS, labels, good, mean)
    assert first.outcome == "passed"
    assert "rmse better than the constant answer of the training mean" in first.text
    assert "since r2 says nothing about a constant answer" in first.text
    # exact answers are no sign of a leak in a regression
    assert judge(spec, OF_NUMBERS, labels, labels, mean).outcome == "passed"


def test_equal_numbers_can_be_judged_but_one_class_cannot() -> None:
    spec = gates("mae", ThresholdSpec(max=1), "mae")
    fives = np.full(600, 5.0)
    near, far = fives + 0.1, fives + 0.5
    assert judge(spec, OF_NUMBERS, fives, near, champion_rival(spec, far)).outcome == "passed"
    spec = gates("accuracy", ThresholdSpec(min=0.1), "log_loss")
    _, scores = animals(600, 1.0)
    verdict = judge(spec, OF_CLASSES, np.ones(600, int), scores, champion_rival(spec, scores))
    assert verdict.outcome == "undecided"
    assert "all 600 evaluation labels are of one class" in verdict.text


def test_a_perfect_order_of_classes_is_suspicious() -> None:
    spec = gates("accuracy", ThresholdSpec(min=0.5), "log_loss")
    labels, scores = animals(600, 30.0)
    verdict = judge(spec, OF_CLASSES, labels, scores, champion_rival(spec, scores))
    assert verdict.outcome == "failed"
    assert "suspiciously good" in verdict.text


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_a_row_of_classes_with_a_broken_number_is_counted_once(broken: float) -> None:
    spec = gates("accuracy", ThresholdSpec(min=0.5), "log_loss")
    labels, scores = animals(600, 1.0)
    bad = scores.copy()
    bad[3] = broken
    verdict = judge(spec, OF_CLASSES, labels, bad, champion_rival(spec, scores))
    assert verdict.outcome == "undecided"
    assert "1 of 600 answers of the candidate" in verdict.text


def test_too_few_rows_with_no_effect_ask_for_the_declared_ones() -> None:
    spec = gates("mae", ThresholdSpec(max=1), "mae")
    none = judge(spec, OF_NUMBERS, [], [], champion_rival(spec, np.empty(0)))
    assert (none.outcome, none.rows_needed) == ("undecided", 500)
    one = judge(spec, OF_NUMBERS, [1.0], [1.0], champion_rival(spec, np.array([1.0])))
    assert (one.outcome, one.rows_needed) == ("undecided", 500)
