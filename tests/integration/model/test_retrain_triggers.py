"""What calls for a retrain besides labels: a commit, new data, a person, findings of drift."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from retrain_night import asking, released, request, told
from training_line import START, Line

from ferryman.runtime.messages import StepResult
from ferryman.spec.model import DeclaredModel
from ferryman.steps.contract import run_step


def decided(line: Line, model: DeclaredModel, monitor: StepResult, **params: Any) -> StepResult:
    """The decision; its file says the same."""
    result = run_step(request(line, params=params, monitor=monitor), model, line.settings)
    kept = json.loads(Path(result.artifacts["decision"]).read_text())
    assert (kept["retrain"], kept["reason"]) == (
        result.outputs["retrain"],
        result.outputs["reason"],
    )
    return result


def test_a_commit_new_data_and_a_person_are_triggers_with_their_evidence(line: Line) -> None:
    head = released(line, START + timedelta(days=20))
    quiet = told(head)
    assert decided(line, asking(line), quiet).outputs["causes"] == []

    rules = asking(line, new_rows=200, probe=None)
    found = decided(line, rules, quiet)
    assert found.outputs["causes"] == ["new_data"]
    known = json.loads(Path(found.artifacts["decision"]).read_text())["evidence"]["new_rows"]
    # Four days of 96 hours, some of which were never measured.
    assert 350 < known <= 4 * 96
    assert decided(line, asking(line, new_rows=known + 1), quiet).outputs["causes"] == []

    commits = asking(line, on_commit=True, probe=None)
    assert decided(line, commits, quiet).outputs["causes"] == []
    changed = commits.model_copy(update={"digest": "f" * 64})
    found = decided(line, changed, quiet)
    assert found.outputs["causes"] == ["commit"]
    assert f"version {head.version} was made of {line.model.digest[:12]}" in str(
        found.outputs["reason"]
    )

    found = decided(line, asking(line), quiet, reason="new sensors since Monday")
    assert found.outputs["reason"] == f"person: {line.settings.actor}: new sensors since Monday"
    assert "probe" not in found.outputs

    found = decided(line, asking(line), quiet, reason="new sensors since Monday", actor="olga")
    assert found.outputs["reason"] == "person: olga: new sensors since Monday"
    told_by = json.loads(Path(found.artifacts["decision"]).read_text())["evidence"]
    assert (told_by["person"], told_by["wish"]) == ("olga", "new sensors since Monday")
    # A person's name without a reason is no wish: every run by hand has one.
    assert decided(line, asking(line), quiet, actor="olga").outputs["causes"] == []


@pytest.mark.parametrize("outcome", ["alarm", "still"])
def test_findings_of_drift_are_named_with_their_kind(line: Line, outcome: str) -> None:
    head = released(line, START + timedelta(days=20))
    findings = [
        {"kind": "column", "name": "humidity", "outcome": outcome},
        {"kind": "joint", "name": "joint", "outcome": outcome},
        {"kind": "concept", "name": "errors", "outcome": outcome},
    ]
    monitor = told(head, drifted=["humidity"], drift={"alarm": True, "findings": findings})
    found = decided(line, asking(line, probe=None), monitor)
    named = "drift: drifted inputs humidity, findings joint, errors (concept)"
    assert (found.outputs["retrain"], found.outputs["reason"]) == (True, named)
    kept = json.loads(Path(found.artifacts["decision"]).read_text())
    assert bool(kept["evidence"]["alarms"]) is (outcome == "alarm")
