"""What an approver reads: facts on record, bounded, in which data stays data."""

import json

import pytest
from release_world import Release, candidate, copy_world

from ferryman.errors import PolicyRefused
from ferryman.ledger.ledger import Ledger
from ferryman.ledger.records import PROMOTE, Candidate
from ferryman.runtime.messages import StepRequest, StepResult
from ferryman.runtime.run_store import run_folder, store_result
from ferryman.steps.contract import run_step

HOSTILE = "<img src=x onerror=alert(1)> {{ 7*7 }} | `rm` \ud800 *x*"


@pytest.fixture
def settings(template, tmp_path, free_ports):
    return copy_world(template, tmp_path / "home", free_ports(2))


@pytest.fixture
def gated(settings, make_bundle):
    """A release of version 2 that its gate let pass."""
    release = Release(settings, "second", candidate(settings, 2, make_bundle))
    release.run("gate")
    return release


def _propose(release, **params):
    folder = run_folder(release.settings.runs_root, "tiny", "release", release.run_id)
    request = StepRequest(
        model="tiny",
        step="propose",
        run_id=release.run_id,
        run_uri=str(folder),
        params=params,
        spec_digest=release.model.digest,
        results=release.results,
    )
    return run_step(request, release.model, release.settings)


def _write_report(settings, slices):
    run = run_folder(settings.runs_root, "tiny", "training", "v2")
    (run / "report").mkdir(parents=True)
    text = json.dumps({"slices": slices})  # escapes what UTF-8 cannot hold
    (run / "report" / "report.json").write_text(text)
    return run.name


def _slice(value, log_loss, *, enough=True):
    interval = {"low": log_loss - 0.01, "high": log_loss + 0.01}
    return {
        "column": "carrier",
        "value": value,
        "rows": 120,
        "enough": enough,
        "metrics": {"log_loss": log_loss},
        "intervals": {"log_loss": interval},
    }


def _write_monitoring(settings, drifted):
    folder = run_folder(settings.runs_root, "tiny", "monitoring", "m")
    request = StepRequest(
        model="tiny", step="monitor", run_id="m", run_uri=str(folder), spec_digest="0"
    )
    outputs = {"drifted": drifted}
    result = StepResult(
        model="tiny",
        step="monitor",
        request_digest=request.digest,
        text="log_loss 0.41 (n 900)",
        outputs=outputs,
    )
    store_result(request, result)


def test_a_proposal_tells_both_models_the_worst_slice_the_data_and_what_drifted(gated, settings):
    slices = [_slice("UA", 0.40), _slice("AA", 0.55), _slice("B6", 0.90, enough=False)]
    training = _write_report(settings, slices)
    _write_monitoring(settings, ["distance", "hour"])
    told = _propose(gated, requester="rita", training_run=training)
    assert told.outputs["requester"] == "rita"
    assert told.outputs["begun_by"] == settings.actor
    assert (told.outputs["version"], told.outputs["base_epoch"]) == (2, 1)
    body = told.outputs["body"]
    for words in (
        "**Served now**: version 1 (epoch 1)",
        "| log\\_loss |",
        "Better than the champion by",
        "carrier = AA: log\\_loss 0.55, in \\[0.54, 0.56\\] (n 120), of 2 slices",
        "columns changed; rows",
        "log\\_loss 0.41 (n 900)",
        "Inputs that drifted: distance, hour",
        "Then version 2 answers all requests",
    ):
        assert words in body, words
    figures = json.loads((settings.runs_root / told.artifacts["proposal.json"]).read_bytes())
    assert [one["title"] for one in figures["sections"]][:2] == ["What is proposed", "Evidence"]


def test_what_data_holds_stays_data_and_the_page_stays_small(gated, settings):
    training = _write_report(settings, [_slice(HOSTILE * 500, 0.9)])
    _write_monitoring(settings, [HOSTILE.replace("\ud800", "") * 100] * 5000)
    body = _propose(gated, training_run=training).outputs["body"]
    assert len(body) < 21_000
    assert "<img" not in body
    assert "&lt;img src=x" in body
    assert "\\| \\`rm\\`" in body
    body.encode()


def test_without_reports_and_monitoring_the_proposal_says_so(gated):
    body = _propose(gated).outputs["body"]
    assert "No slice with enough rows was measured" in body
    assert "Nothing was monitored yet" in body


@pytest.mark.parametrize("name", ["../../../etc", "nobody", "v2/../../x"])
def test_a_training_run_that_is_none_shows_no_report(gated, name):
    assert "No slice with enough rows" in _propose(gated, training_run=name).outputs["body"]


def test_nothing_is_proposed_that_no_gate_let_pass(settings, make_bundle):
    release = Release(settings, "second", candidate(settings, 2, make_bundle))
    given = release.given | {"reason": "never judged"}
    ledger = Ledger(settings.ledger_url)
    op = ledger.open_op(PROMOTE, "tiny", Candidate.model_validate(given), "test", "never judged")
    forged = {"op_id": op.op_id, "base_epoch": 1, "comparison": {"outcome": "passed"}}
    release.results["gate"] = StepResult(
        model="tiny", step="gate", request_digest="d", outputs=forged
    )
    with pytest.raises(PolicyRefused, match="no gate let it pass"):
        _propose(release)
