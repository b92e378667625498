"""The gate's rule: better passes, worse and unproven fail, unknown is undecided."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
import pytest

from ferryman.evaluation.gates import GateVerdict, Opinion, Outcome
from ferryman.evaluation.gates import judge as judge_answers
from ferryman.evaluation.measures import make_measures
from ferryman.evaluation.rivals import champion_rival, constant_rival, pipeline_rival
from ferryman.spec.evaluation import BaselineSpec, ChampionGateSpec, GatesSpec, ThresholdSpec
from ferryman.spec.metrics import MetricName

Scores = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
BINARY = make_measures("binary")


def gates(
    margin: float = 0.0,
    require: Literal["better", "no_worse"] = "better",
    metric: MetricName = "log_loss",
    **thresholds: ThresholdSpec,
) -> GatesSpec:
    bounds = thresholds or {"roc_auc": ThresholdSpec(min=0.55)}
    return GatesSpec(
        thresholds=bounds,
        champion=ChampionGateSpec(metric=metric, margin=margin, require=require),
        min_rows=500,
        resamples=300,
    )


def judge(
    spec: GatesSpec,
    labels: npt.ArrayLike,
    candidate: npt.ArrayLike,
    champion: Scores | None = None,
    *,
    seed: int = 0,
    leakage_accepted: str = "",
    further: Sequence[Opinion] = (),
) -> GateVerdict:
    """Against a champion, or the constant answer of training labels like the evaluation's."""
    truth = np.asarray(labels, dtype=bool)
    rival = (
        constant_rival(spec, "binary", 0, truth if len(truth) else np.array([True]), len(truth))
        if champion is None
        else champion_rival(spec, champion)
    )
    return judge_answers(
        spec,
        BINARY,
        truth,
        candidate,
        rival,
        seed=seed,
        leakage_accepted=leakage_accepted,
        further=further,
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
    assert (verdict.against, verdict.finding) == ("champion", "better")
    assert verdict.difference is not None
    assert verdict.difference.low > 0
    assert verdict.text.startswith("passed: roc_auc in [")
    assert set(verdict.intervals) == {"roc_auc", "log_loss"}
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


def test_rounding_is_no_difference() -> None:
    labels, truth = world(3000)
    nudged = truth + np.where(labels, 1e-7, -1e-7)
    for candidate, champion in ((nudged, truth), (truth, nudged), (truth.astype("f4"), truth)):
        verdict = judge(gates(), labels, candidate, champion)
        assert (verdict.outcome, verdict.finding) == ("failed", "not better")
    # what is more than rounding counts, however small
    nudged = truth + np.where(labels, 1e-3, -1e-3)
    assert judge(gates(), labels, nudged, truth).finding == "better"


def test_a_small_gain_is_undecided_and_the_rows_that_would_decide_are_told() -> None:
    labels, truth = world(600)
    champion, candidate = blurred(truth, 0.35, 5), blurred(truth, 0.3, 6)
    verdict = judge(gates(), labels, candidate, champion)
    assert (verdict.outcome, verdict.finding) == ("undecided", "undecided")
    assert "not shown to be better" in verdict.text
    assert verdict.rows_needed is not None
    assert verdict.rows_needed > 600
    assert f"about {verdict.rows_needed} rows" in verdict.text


def test_no_worse_passes_within_the_margin_and_fails_beyond_it() -> None:
    labels, truth = world(3000)
    good, slightly_worse, bad = (blurred(truth, noise, 1) for noise in (0.1, 0.2, 1.5))
    spec = gates(margin=0.05, require="no_worse")
    same = judge(spec, labels, good, good)
    assert (same.outcome, same.finding) == ("passed", "no worse")
    within = judge(spec, labels, slightly_worse, good)
    assert (within.outcome, within.finding) == ("passed", "no worse")
    assert within.difference is not None
    assert within.difference.high < 0
    assert "less than 0.05 worse than the champion" in " ".join(t for _, t in within.opinions)
    better = judge(spec, labels, good, bad)
    assert (better.outcome, better.finding) == ("passed", "better")
    beyond = judge(spec, labels, bad, good)
    assert (beyond.outcome, beyond.finding) == ("failed", "worse")
    assert "worse than the champion by more than 0.05" in beyond.text
    # The margin lies within the interval: more rows would tell.
    estimate = beyond.difference.estimate if beyond.difference else 0.0
    near = judge(gates(margin=-estimate + 0.001, require="no_worse"), labels, bad, good)
    assert near.outcome == "undecided"
    assert near.rows_needed is not None
    assert near.rows_needed > 3000


def test_opinions_formed_elsewhere_weigh_as_much() -> None:
    labels, truth = world(2000)
    both: list[tuple[Opinion, Outcome]] = [
        (("failed", "carrier AA: roc_auc below 0.5"), "failed"),
        (("undecided", "behaviour cannot be tested"), "undecided"),
        (("passed", "3 slices kept"), "passed"),
    ]
    for opinion, outcome in both:
        verdict = judge(gates(), labels, truth, further=[opinion])
        assert verdict.outcome == outcome
        assert opinion in verdict.opinions
        assert (opinion[1] in verdict.text) == (outcome != "passed")
    assert "1 further check passed" in judge(gates(), labels, truth, further=[both[2][0]]).text
    worst = judge(gates(), labels, truth, further=[opinion for opinion, _ in both])
    assert worst.reasons == ("carrier AA: roc_auc below 0.5",)


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


def test_a_first_model_must_beat_the_constant_answer() -> None:
    labels, truth = world(2000)
    good = judge(gates(), labels, truth)
    assert (good.outcome, good.against) == ("passed", "baseline")
    assert good.rival == "constant answer of the training base rate"
    # ranks well, but its probabilities are worse than saying the base rate to everybody
    crooked = judge(gates(), labels, np.clip(truth**0.2, 0, 1))
    assert crooked.outcome == "failed"
    assert crooked.reasons[0].startswith("worse than the constant answer of the training base rate")
    # a margin is between models; a baseline must be beaten, whatever is required of successors
    lenient = gates(margin=0.5, require="no_worse")
    assert judge(lenient, labels, np.clip(truth**0.2, 0, 1)).outcome == "failed"
    assert judge(gates(margin=0.5), labels, truth).outcome == "passed"


def test_a_constant_is_compared_in_a_metric_that_it_has() -> None:
    labels, truth = world(2000)
    ranked = judge(gates(metric="roc_auc"), labels, truth)
    assert ranked.outcome == "passed"
    assert ranked.difference is not None
    assert ranked.difference.metric == "log_loss"
    assert "compared in log_loss, since roc_auc says nothing about a constant" in ranked.text
    squared = judge(gates(metric="brier"), labels, truth)
    assert squared.difference is not None
    assert squared.difference.metric == "brier"


def test_a_declared_pipeline_is_the_rival_of_a_first_model() -> None:
    labels, truth = world(2000)
    spec = gates(metric="roc_auc").model_copy(
        update={"baseline": BaselineSpec(kind="pipeline", pipeline="pipeline.py:linear")}
    )
    rival = pipeline_rival(spec, blurred(truth, 0.8, 3))
    verdict = judge_answers(spec, BINARY, labels, truth, rival)
    assert (verdict.outcome, verdict.against) == ("passed", "baseline")
    assert "roc_auc better than the baseline pipeline.py:linear by" in verdict.text
    beaten = judge_answers(
        spec, BINARY, labels, blurred(truth, 0.8, 3), pipeline_rival(spec, truth)
    )
    assert beaten.outcome == "failed"


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
    assert "1 of 1000 answers of the candidate" in judge(gates(), labels, broken).text
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
