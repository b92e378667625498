"""The interval of labelled answers, and the verdict that it allows."""

import math

import numpy as np
import pytest

from ferryman.rollout.always_valid import LEAST, Interval, compare_arms, compare_pairs
from ferryman.rollout.label_evidence import judge_labels, labels_needed
from ferryman.spec.rollout import LabelsSpec

LABELS = LabelsSpec()


def dealt(
    count: int = 2000, share: float = 0.25, worse: float = 0.0, seed: int = 1
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    arm = random.random(count) < share
    losses = random.random(count) ** 2 + worse * arm
    return losses, arm, np.where(arm, share, 1 - share)


def test_a_difference_is_found_with_its_size() -> None:
    interval = compare_arms(*dealt(worse=0.15), significance=0.05)
    assert interval.low < 0.15 < interval.high
    assert judge_labels(interval, LABELS).outcome == "failed"
    better = compare_arms(*dealt(worse=-0.15), significance=0.05)
    assert judge_labels(better, LABELS).outcome == "passed"


def test_models_that_are_alike_stay_undecided_and_say_what_would_do() -> None:
    found = judge_labels(compare_arms(*dealt(), significance=0.05), LABELS)
    assert found.outcome == "undecided"
    assert "2000 labelled answers" in found.text


def test_a_margin_lets_what_is_alike_pass() -> None:
    interval = compare_arms(*dealt(), significance=0.05)
    assert judge_labels(interval, LabelsSpec(margin=0.2)).outcome == "passed"


def test_a_candidate_that_is_worse_by_less_than_the_margin_does_not_fail() -> None:
    interval = compare_arms(*dealt(worse=0.15), significance=0.05)
    assert interval.low > 0
    assert judge_labels(interval, LabelsSpec(margin=0.15)).outcome == "undecided"


def test_arms_that_change_places_turn_the_sign() -> None:
    losses, arm, chances = dealt(worse=0.1)
    forth = compare_arms(losses, arm, chances, significance=0.05)
    back = compare_arms(losses, ~arm, chances, significance=0.05)
    assert forth.effect == pytest.approx(-back.effect)
    assert forth.low == pytest.approx(-back.high)
    assert forth.high == pytest.approx(-back.low)
    assert (forth.candidates, forth.champions) == (back.champions, back.candidates)


def test_a_unit_of_the_loss_changes_the_unit_of_the_interval_only() -> None:
    losses, arm, chances = dealt(worse=0.1)
    plain = compare_arms(losses, arm, chances, significance=0.05)
    other = compare_arms(1000 * losses + 5, arm, chances, significance=0.05)
    assert other.effect == pytest.approx(1000 * plain.effect)
    assert other.high - other.low == pytest.approx(1000 * (plain.high - plain.low))


def test_answers_that_were_not_dealt_out_say_nothing() -> None:
    losses, arm, chances = dealt(worse=0.1)
    before = np.full(500, 9.0)
    with_them = compare_arms(
        np.concatenate([before, losses]),
        np.concatenate([np.zeros(500, bool), arm]),
        np.concatenate([np.ones(500), chances]),
        significance=0.05,
    )
    assert with_them == compare_arms(losses, arm, chances, significance=0.05)


def test_answers_about_the_same_entity_count_less() -> None:
    random = np.random.default_rng(2)
    entities = np.repeat(np.arange(200), 10)
    arm = (random.random(200) < 0.5)[entities]
    losses = random.random(200)[entities] + 0.01 * random.random(2000)
    chances = np.full(2000, 0.5)
    alone = compare_arms(losses, arm, chances, significance=0.05)
    grouped = compare_arms(losses, arm, chances, significance=0.05, entities=entities)
    assert grouped.effect == alone.effect
    assert grouped.high - grouped.low > 2 * (alone.high - alone.low)
    names = np.array([f"entity {number}" for number in entities])
    assert compare_arms(losses, arm, chances, significance=0.05, entities=names) == grouped


def test_few_entities_are_no_proof_however_many_answers() -> None:
    losses, arm, chances = dealt(worse=0.5)
    entities = np.where(arm, 1, 2)
    interval = compare_arms(losses, arm, chances, significance=0.05, entities=entities)
    assert math.isinf(interval.high)
    found = judge_labels(interval, LABELS)
    assert found.outcome == "undecided"
    assert found.low is None
    assert "too few entities" in found.text
    pairs = compare_pairs(losses, significance=0.05, entities=np.arange(2000) % 20)
    assert judge_labels(pairs, LABELS).outcome == "undecided"


@pytest.mark.parametrize("count", [0, 1, 40])
def test_few_labels_are_no_proof(count: int) -> None:
    interval = compare_arms(*dealt(count, worse=9.0), significance=0.05)
    assert judge_labels(interval, LABELS).outcome == "undecided"
    pairs = compare_pairs(np.full(min(count, LEAST - 1), 0.5), significance=0.05)
    assert judge_labels(pairs, LabelsSpec(min_labels=10)).outcome == "undecided"


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_no_number_decides_nothing(bad: float) -> None:
    losses, arm, chances = dealt(worse=9.0)
    losses[7] = bad
    for interval in (
        compare_arms(losses, arm, chances, significance=0.05),
        compare_pairs(losses, significance=0.05),
    ):
        found = judge_labels(interval, LABELS)
        assert found.outcome == "undecided"
        assert "not a finite number" in found.text
        assert found.as_json()["low"] is None


def test_losses_without_any_spread_are_no_proof() -> None:
    arm = np.arange(400) % 2 == 0
    losses = np.full(400, 0.1)
    interval = compare_arms(losses, arm, np.full(400, 0.5), significance=0.05)
    assert judge_labels(interval, LABELS).outcome == "undecided"
    same = compare_pairs(np.zeros(400), significance=0.05)
    assert judge_labels(same, LABELS).outcome == "undecided"


def test_pairs_need_fewer_labels_than_arms() -> None:
    random = np.random.default_rng(3)
    hard = random.random(1000)
    differences = (hard + 0.03 + 0.1 * random.random(1000)) - (hard + 0.1 * random.random(1000))
    pairs = compare_pairs(differences, significance=0.05)
    assert judge_labels(pairs, LABELS).outcome == "failed"
    arm = random.random(1000) < 0.5
    arms = compare_arms(hard + 0.03 * arm, arm, np.full(1000, 0.5), significance=0.05)
    assert judge_labels(arms, LABELS).outcome == "undecided"


def test_the_number_that_would_decide_about_does() -> None:
    losses, arm, chances = dealt(60_000, 0.5, worse=0.02, seed=5)
    early = compare_arms(losses[:4000], arm[:4000], chances[:4000], significance=0.05)
    needed = labels_needed(Interval(0.02, *_around(0.02, early), *_counts(early)), LABELS)
    assert needed is not None
    assert 4000 < needed < 30_000
    then = compare_arms(losses[:needed], arm[:needed], chances[:needed], significance=0.05)
    assert (then.high - then.low) / 2 == pytest.approx(0.02, rel=0.15)


def _around(effect: float, interval: Interval) -> tuple[float, float]:
    half = (interval.high - interval.low) / 2
    return effect - half, effect + half


def _counts(interval: Interval) -> tuple[int, int]:
    return interval.candidates, interval.champions


def test_an_effect_at_the_margin_has_no_such_number() -> None:
    assert labels_needed(Interval(0.0, -0.1, 0.1, 500, 500), LABELS) is None


@pytest.mark.parametrize("chance", [0.0, -0.1, 1.1, math.nan])
def test_a_propensity_that_is_none_is_refused(chance: float) -> None:
    losses, arm, chances = dealt(100)
    chances[3] = chance
    with pytest.raises(ValueError, match="propensity"):
        compare_arms(losses, arm, chances, significance=0.05)


def test_arrays_of_different_lengths_are_refused() -> None:
    losses, arm, chances = dealt(100)
    with pytest.raises(ValueError, match="lengths"):
        compare_arms(losses[1:], arm, chances, significance=0.05)
