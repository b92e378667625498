"""The gate on slices and groups: a shown violation fails, chance and small slices do not."""

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from ferryman.evaluation.gates import Opinion
from ferryman.evaluation.measures import make_measures
from ferryman.evaluation.slice_gate import fairness_opinions, slice_opinions
from ferryman.spec.evaluation import (
    EvaluationSpec,
    FairnessGateSpec,
    GatesSpec,
    SliceGateSpec,
    SliceSpec,
    ThresholdSpec,
)

Floats = npt.NDArray[np.float64]
BINARY = make_measures("binary")
EVALUATION = EvaluationSpec(slices=[SliceSpec(column="place")], min_rows=50)


class Rows:
    """Equal slices; candidate and champion are equally good, but for noise of their own."""

    def __init__(self, slices: int, each: int, seed: int = 0) -> None:
        generator = np.random.default_rng(seed)
        rows = slices * each
        truth = generator.beta(2, 3, rows)
        self.place = np.arange(rows) % slices
        self.frame = pd.DataFrame({"place": [f"p{code}" for code in self.place]})
        self.labels = generator.random(rows) < truth
        noise = generator.normal(0, 0.1, (2, rows))
        self.candidate, self.champion = np.clip(truth + noise, 0.01, 0.99)

    def spoil(self, place: int) -> None:
        """The candidate's answers of one slice become those of other rows."""
        rows = np.flatnonzero(self.place == place)
        self.candidate[rows] = np.roll(1 - self.candidate[rows], 1)

    def opinions(self, *slices: SliceGateSpec, champion: bool = True) -> list[Opinion]:
        return slice_opinions(
            gates(slices=list(slices)),
            EVALUATION,
            BINARY,
            self.frame,
            labels=self.labels,
            candidate=self.candidate,
            champion=self.champion if champion else None,
        )


def gates(**given: object) -> GatesSpec:
    return GatesSpec(thresholds={"brier": ThresholdSpec(max=1)}, **{"resamples": 200, **given})


def failures(opinions: list[Opinion]) -> list[str]:
    return [text for outcome, text in opinions if outcome == "failed"]


WORSE = SliceGateSpec(metric="brier", max_worse=0.0)
BOUND = SliceGateSpec(metric="brier", max=0.25)


@pytest.mark.parametrize("gate", [WORSE, SliceGateSpec(metric="accuracy", max_worse=0.0)])
def test_twenty_equal_slices_seldom_fail(gate: SliceGateSpec) -> None:
    failed = sum(bool(failures(Rows(20, 60, 1000 + seed).opinions(gate))) for seed in range(20))
    assert failed <= 1  # 5 %, at a bound that equal models do not even keep a distance from


@pytest.mark.parametrize("gate", [WORSE, BOUND, SliceGateSpec(metric="accuracy", min=0.6)])
def test_a_bad_slice_fails_and_is_named(gate: SliceGateSpec) -> None:
    rows = Rows(20, 150)
    assert failures(rows.opinions(gate)) == []
    rows.spoil(7)
    found = failures(rows.opinions(gate))
    assert len(found) == 1
    assert "broken on place p7 (n 150, in [" in found[0]
    assert "among 20 slices looked at" in found[0]


def test_a_slice_is_judged_beside_all_that_were_looked_at() -> None:
    """What one slice alone would show is not shown where it is the worst of many."""
    found = []
    for slices in (1, 20):
        rows = Rows(slices, 60)
        rows.candidate = np.where(rows.labels, 0.9, 0.1)
        wrong = np.flatnonzero(rows.place == 0)[:22]
        rows.candidate[wrong] = 1 - rows.candidate[wrong]
        found.append(failures(rows.opinions(SliceGateSpec(metric="accuracy", min=0.8))))
    assert len(found[0]) == 1
    assert found[1] == []


def test_a_small_slice_is_not_enough_data() -> None:
    rows = Rows(4, 100)
    rows.spoil(2)
    keep = (rows.place != 2) | (np.arange(400) < 160)
    rows.frame, rows.labels = rows.frame[keep], rows.labels[keep]
    rows.candidate, rows.champion = rows.candidate[keep], rows.champion[keep]
    found = rows.opinions(BOUND)
    assert [outcome for outcome, _ in found] == ["passed"]
    assert "slices looked at" in found[0][1]
    assert found[0][1].endswith("not enough data on 1 (n below 50)")


def test_what_is_neither_shown_nor_excluded_is_said() -> None:
    rows = Rows(8, 60)
    brier = float(((rows.candidate - rows.labels) ** 2).mean())
    found = rows.opinions(SliceGateSpec(metric="brier", max=brier))
    assert [outcome for outcome, _ in found] == ["passed"]
    assert "neither shown nor excluded on place p0 (n 60, in [" in found[0][1]
    assert "more" in found[0][1]  # not all eight are named


def test_without_a_champion_nothing_can_be_worse() -> None:
    bound = SliceGateSpec(metric="brier", max=0.4)
    found = Rows(3, 100).opinions(WORSE, bound, champion=False)
    assert found[0] == (
        "passed",
        "slices: brier worse than the champion by at most 0: no champion to compare with",
    )
    assert "shown on 3 of 3 slices" in found[1][1]


def test_a_metric_that_a_slice_cannot_have_is_said() -> None:
    rows = Rows(3, 100)
    rows.labels[rows.place == 1] = False
    found = rows.opinions(SliceGateSpec(metric="roc_auc", min=0.5))
    assert [outcome for outcome, _ in found] == ["passed"]
    assert "cannot be had on place p1 (n 100)" in found[0][1]


def fairness(rows: Rows, max_gap: float, min_rows: int = 50) -> Opinion:
    gate = FairnessGateSpec(column="place", metric="selection_rate", max_gap=max_gap)
    return fairness_opinions(
        gates(fairness=[gate]),
        EvaluationSpec(min_rows=min_rows),
        BINARY,
        rows.frame,
        labels=rows.labels,
        candidate=rows.candidate,
    )[0]


def test_a_planted_gap_between_groups_fails() -> None:
    rows = Rows(4, 300)
    outcome, text = fairness(rows, 0.3)
    assert outcome == "passed"
    assert text.endswith("at most 0.3")
    rows.candidate[rows.place == 2] = np.minimum(rows.candidate[rows.place == 2] + 0.5, 1)
    outcome, text = fairness(rows, 0.3)
    assert outcome == "failed"
    assert "between p2 (" in text
    assert text.endswith("more than 0.3")


def test_a_gap_that_is_neither_shown_nor_excluded_passes_and_says_so() -> None:
    outcome, text = fairness(Rows(4, 60), 0.05)
    assert outcome == "passed"
    assert text.endswith("neither shown nor excluded to be more than 0.05")


def test_small_groups_are_not_enough_data() -> None:
    rows = Rows(4, 60)
    rows.candidate[rows.place == 2] = 1.0
    outcome, text = fairness(rows, 0.05, min_rows=100)
    assert outcome == "passed"
    assert "fewer than two groups have a figure; not enough data on 4 groups" in text
