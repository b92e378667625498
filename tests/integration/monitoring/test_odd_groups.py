"""Whatever a column of groups holds: a figure is a number, or null with its reason."""

import json
import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ferryman.evaluation.row_losses import row_losses
from ferryman.monitoring.groups import Figure, SliceLook, SliceRule, judge_slices
from ferryman.monitoring.recent_slices import DayLosses, DayRule, recent_worsening
from ferryman.spec.evaluation import FairnessGateSpec, SliceSpec
from ferryman.spec.model import DeclaredModel
from ferryman.steps.monitored_fairness import GAP, group_findings
from ferryman.steps.slice_parts import NEW_VALUES, slice_parts

ROWS = 700
DAYS = np.repeat(np.arange(7), ROWS // 7)


def answers() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(1)
    scores = random.random(ROWS)
    return random.random(ROWS) < scores, scores


def columns() -> dict[str, Any]:
    random, rows = np.random.default_rng(2), np.arange(ROWS)
    half = np.where(rows % 2, "a", "b")
    return {
        "all null": np.full(ROWS, "", dtype=object),
        "one group": np.full(ROWS, "a", dtype=object),
        "new on the last day": np.where(DAYS == 6, "new", half).astype(object),
        "many": np.array([f"g{place}" for place in random.integers(0, 10_000, ROWS)], object),
        "names": np.where(rows % 2, "東京 – “x”, y=1", "\u202eß\n<b>").astype(object),
        "numbers": np.full(ROWS, np.nan),
    }


@pytest.mark.parametrize("name", list(columns()))
@pytest.mark.parametrize("metric", ["log_loss", "roc_auc", "false_negative_rate"])
def test_groups_are_figures_or_reasons(rain: DeclaredModel, name: str, metric: str) -> None:
    labels, scores = answers()
    gate = FairnessGateSpec(column="group", metric=metric, max_gap=0.2)
    frame = pd.DataFrame({"group": columns()[name]})
    found = group_findings(_context(rain, gate), gate, frame, labels, scores, days=DAYS)
    assert found[-1].value == GAP
    _are_sound([one.as_json() for one in found])
    if name in {"all null", "one group", "many", "numbers"}:
        assert (found[-1].figure, found[-1].outcome) == (None, "not_enough_labels")
    if name == "new on the last day":
        new = next(one for one in found if one.value == "new")
        assert (new.n, new.outcome) == (_of_kind(labels, metric), "ok")
        assert found[-1].outcome == "ok"


def _of_kind(labels: np.ndarray, metric: str) -> int:
    last = DAYS == 6
    return int((labels & last).sum() if metric == "false_negative_rate" else last.sum())


def test_a_group_of_one_class_has_no_ranking_and_no_alarm(rain: DeclaredModel) -> None:
    labels, scores = answers()
    group = np.where(np.arange(ROWS) % 2, "a", "b")
    gate = FairnessGateSpec(column="group", metric="roc_auc", max_gap=0.2)
    context, frame = _context(rain, gate), pd.DataFrame({"group": group})
    found = group_findings(context, gate, frame, labels | (group == "a"), scores, days=DAYS)
    one = next(one for one in found if one.value == "a")
    assert (one.figure, one.outcome) == (None, "not_enough_labels")
    assert one.text == "group a: not enough data (roc_auc cannot be had)"
    assert found[-1].outcome == "not_enough_labels"
    nothing = group_findings(
        context, gate, frame[:0], labels[:0], scores[:0], days=DAYS[:0].astype(np.int64)
    )
    assert [one.text for one in nothing] == ["groups of group: not enough labels (n=0 < 50)"]


@pytest.mark.parametrize("name", list(columns()))
@pytest.mark.parametrize("evaluated", list(columns()))
def test_slices_are_told_whatever_the_evaluation_had(name: str, evaluated: str) -> None:
    labels, scores = answers()
    now, before = pd.Series(columns()[name]), pd.Series(columns()[evaluated])
    parts = slice_parts(SliceSpec(column="group"), now, before)
    assert sum(len(part.now) for part in parts) == ROWS
    losses = DayLosses(row_losses("binary", "log_loss", labels, scores), DAYS)
    flags = [tuple(np.isin(np.arange(ROWS), p) for p in (one.before, one.now)) for one in parts]
    days = recent_worsening(losses, losses, flags, DayRule(lambda _: 0.05, 50))
    looks = [
        SliceLook("c", part.name, len(part.now), len(part.now), _figure(part.now), None, recent)
        for part, recent in zip(parts, days, strict=True)
    ]
    found = judge_slices(looks, SliceRule("log_loss", True, 0.05, 0.01, 50))
    _are_sound([one.as_json() for one in found])
    assert "worse" not in {one.outcome for one in found}
    if name == "new on the last day" and evaluated in {"names", "one group"}:
        assert NEW_VALUES in {one.value for one in found}


def _figure(places: np.ndarray) -> Figure | None:
    return Figure(0.5, 0.1, len(places)) if len(places) >= 50 else None


def _context(rain: DeclaredModel, gate: FairnessGateSpec) -> Any:
    """What group_findings asks for: a declaration."""
    gates = rain.spec.gates.model_copy(update={"fairness": [gate], "resamples": 200})
    return SimpleNamespace(spec=rain.spec.model_copy(update={"gates": gates}))


def _are_sound(found: list[dict[str, Any]]) -> None:
    json.loads(json.dumps(found, allow_nan=False))
    for one in found:
        assert one["text"]
        if one["outcome"] == "not_enough_labels":
            assert (one["figure"], one["low"], one["high"]) == (None, None, None)
        if one["figure"] is not None:
            assert math.isfinite(one["figure"])
            assert one["low"] <= one["figure"] <= one["high"]
