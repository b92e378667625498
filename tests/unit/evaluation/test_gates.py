"""The gate's rule: better passes, worse and unproven fail, unknown is undecided."""

import numpy as np
import numpy.typing as npt
import pytest

from ferryman.evaluation.gates import GateVerdict, judge
from ferryman.spec.evaluation import ChampionGateSpec, GatesSpec, ThresholdSpec

Scores = npt.NDArray[np.float64]


def gates(margin: float = 0.0, resamples: int = 300, **thresholds: ThresholdSpec) -> GatesSpec:
    bounds = thresholds or {"roc_auc": ThresholdSpec(min=0.55)}
    return GatesSpec(
        thresholds=bounds,
        champion=ChampionGateSpec(margin=margin),
        min_rows=500,
        resamples=resamples,
    )


def world(rows: int, seed: int = 0) -> tuple[npt.NDArray[np.bool_], Scores]:
    """Labels, and the probabilities that they were drawn with."""
    generator = np.random.default_rng(seed)
    truth = generator.beta(1, 3, rows)
    return generator.random(rows) < truth, truth


def blurred(truth: Scores, noise: float, seed: int) -> Scores:
    """A model that knows the truth with some error, in log odds."""
    odds = np.log(np.clip(truth, 1e-4, 1 - 1e-4) / (1 - np.clip(truth, 1e-4, 1 - 1e-4)))
    return 1 / (1 + np.exp(-odds - np.random.default_rng(seed).normal(0, noise, len(truth))))


def test_a_better_candidate_passes() -> None:
    labels, truth = world(3000)
    verdict = judge(gates(), labels, blurred(truth, 0.1, 1), blurred(truth, 0.8, 2))
    assert verdict.outcome == "passed"
    assert verdict.against == "champion"
    assert verdict.difference is not None
    assert verdict.difference.low > 0
    assert verdict.text.startswith("passed: roc_auc in [")
    assert verdict.rows_needed is None


def test_a_worse_candidate_is_called_worse() -> None:
    labels, truth = world(3000)
    verdict = judge(gates(), labels, blurred(truth, 0.8, 1), blurred(truth, 0.1, 2))
    assert verdict.outcome == "failed"
    assert verdict.reasons[0].startswith("worse than the champion")


def test_the_same_model_is_not_shown_to_be_better() -> None:
    labels, truth = world(3000)
    verdict = judge(gates(), labels, truth, truth)
    assert verdict.outcome == "failed"
    assert "no better than the champion" in verdict.text


def test_a_small_gain_is_not_shown_and_the_rows_that_would_show_it_are_told() -> None:
    labels, truth = world(600)
    champion, candidate = blurred(truth, 0.35, 5), blurred(truth, 0.3, 6)
    verdict = judge(gates(), labels, candidate, champion)
    assert verdict.outcome == "failed"
    assert "not shown to be better" in verdict.text
    assert verdict.rows_needed is not None
    assert verdict.rows_needed > 600
    assert f"about {verdict.rows_needed} rows" in verdict.text


def test_a_gain_below_the_margin_fails() -> None:
    labels, truth = world(3000)
    candidate, champion = blurred(truth, 0.1, 1), blurred(truth, 0.8, 2)
    verdict = judge(gates(margin=0.5), labels, candidate, champion)
    assert verdict.outcome == "failed"
    assert "margin 0.5" in verdict.text


@pytest.mark.parametrize(
    ("bounds", "outcome"),
    [
        ({"roc_auc": ThresholdSpec(min=0.60)}, "passed"),
        ({"brier": ThresholdSpec(max=0.25)}, "passed"),
        ({"roc_auc": ThresholdSpec(min=0.95)}, "failed"),
        ({"brier": ThresholdSpec(max=0.05)}, "failed"),
        ({"roc_auc": ThresholdSpec(min=0.6), "brier": ThresholdSpec(max=0.05)}, "failed"),
    ],
)
def test_thresholds(bounds: dict[str, ThresholdSpec], outcome: str) -> None:
    labels, truth = world(2000)
    assert judge(gates(**bounds), labels, truth).outcome == outcome


def test_the_worse_end_of_the_interval_must_keep_the_bound() -> None:
    labels, truth = world(800)
    auc = judge(gates(), labels, truth)
    interval, point = auc.intervals["roc_auc"], auc.metrics["roc_auc"]
    assert interval is not None
    assert point is not None
    between = (interval.low + point) / 2
    verdict = judge(gates(roc_auc=ThresholdSpec(min=between)), labels, truth)
    assert verdict.outcome == "failed"
    assert "the low end is below" in verdict.text


def test_a_first_model_must_beat_the_base_rate() -> None:
    labels, truth = world(2000)
    good = judge(gates(), labels, truth)
    assert (good.outcome, good.against) == ("passed", "base rate")
    # ranks well, but its probabilities are worse than saying the base rate to everybody
    crooked = judge(gates(), labels, np.clip(truth**0.2, 0, 1))
    assert crooked.outcome == "failed"
    assert crooked.reasons[0].startswith("worse than the base rate")


@pytest.mark.parametrize("champion", [False, True])
def test_too_few_rows_are_undecided(champion: bool) -> None:
    labels, truth = world(100)
    verdict = judge(gates(), labels, truth, blurred(truth, 0.8, 1) if champion else None)
    assert verdict.outcome == "undecided"
    assert verdict.rows == 100
    assert verdict.rows_needed is not None
    assert verdict.rows_needed >= 500
    assert str(verdict.rows_needed) in verdict.text
    none = judge(gates(), [], [])
    assert (none.outcome, none.rows_needed) == ("undecided", 500)


def test_scores_that_are_no_numbers_are_undecided() -> None:
    labels, truth = world(1000)
    broken = truth.copy()
    broken[3] = np.nan
    assert "1 of 1000 scores of the candidate" in judge(gates(), labels, broken).text
    verdict = judge(gates(), labels, truth, broken)
    assert verdict.outcome == "undecided"
    assert "of the champion" in verdict.text


def test_one_class_is_undecided() -> None:
    _, truth = world(1000)
    verdict = judge(gates(), np.zeros(1000, bool), truth)
    assert verdict.outcome == "undecided"
    assert "all 1000 evaluation labels are false" in verdict.text


def test_a_perfect_candidate_is_suspicious() -> None:
    labels, _ = world(1000)
    verdict = judge(gates(), labels, np.where(labels, 0.9, 0.1))
    assert verdict.outcome == "failed"
    assert "suspiciously good" in verdict.text
    said = "accepted by ann: a lamp tells it"
    allowed = judge(gates(), labels, np.where(labels, 0.9, 0.1), leakage_accepted=said)
    assert allowed.outcome == "passed"
    assert f"roc_auc is exactly 1, {said}" in allowed.text


def test_equal_seeds_give_equal_verdicts() -> None:
    labels, truth = world(1000)
    candidate, champion = blurred(truth, 0.1, 1), blurred(truth, 0.2, 2)

    def once(seed: int) -> GateVerdict:
        return judge(gates(), labels, candidate, champion, seed=seed)

    assert once(3) == once(3)
    assert once(3) != once(4)


def test_equally_good_pairs_are_hardly_ever_promoted() -> None:
    # Nominally 2.5 % of pairs, as the interval is two-sided at 95 %: 5 % is three deviations away.
    pairs, promoted = 400, 0
    spec = gates(resamples=200, roc_auc=ThresholdSpec(min=0.5))
    for pair in range(pairs):
        labels, truth = world(500, 100_000 + pair)
        candidate = blurred(truth, 0.3, 200_000 + pair)
        champion = blurred(truth, 0.3, 300_000 + pair)
        promoted += judge(spec, labels, candidate, champion, seed=pair).outcome == "passed"
    assert 0 < promoted < 0.05 * pairs
