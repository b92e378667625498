"""A release through its four steps: what passes, what is refused, and what stays as it was."""

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from release_world import FIRST_DAY, ROWS, Release, candidate, copy_world, declare

from ferryman.deployment.process.process_deployer import ProcessDeployer
from ferryman.errors import (
    DependencyUnavailable,
    GateRefused,
    IntegrityBroken,
    PolicyRefused,
    SpecError,
    Superseded,
)
from ferryman.ledger.ledger import PROMOTE, Ledger
from ferryman.ledger.records import Candidate, State
from ferryman.registry.mlflow_registry import MlflowRegistry
from ferryman.registry.registry import CHAMPION
from ferryman.runtime.endpoints import main_endpoint
from ferryman.runtime.messages import StepRequest
from ferryman.runtime.run_store import run_folder
from ferryman.serving.client import ServingClient
from ferryman.serving.log.prediction_log import read_predictions
from ferryman.settings import Settings
from ferryman.spec.windows import Window
from ferryman.steps.contract import run_step
from ferryman.steps.reconcile import reconcile_all


class World:
    """An installation of this test's own, with its server, at epoch 1."""

    def __init__(self, settings: Settings, make_bundle: Any) -> None:
        self.settings = settings
        self.make_bundle = make_bundle
        self.deployer = ProcessDeployer(settings)
        self.ledger = Ledger(settings.ledger_url)
        self.registry = MlflowRegistry(settings.mlflow_uri, settings.mlflow_artifacts)

    def release(
        self, version: int, run_id: str = "r", changes: dict[str, Any] | None = None
    ) -> Release:
        given = {**candidate(self.settings, version, self.make_bundle), **(changes or {})}
        return Release(self.settings, run_id, given)

    def state(self) -> tuple[Any, ...]:
        """Epoch, version, alias, served: what "unchanged" means."""
        head = self.ledger.head("tiny")
        alias = self.registry.get_alias("tiny", CHAMPION)
        with ServingClient(main_endpoint(self.settings)) as client:
            served = client.status("tiny") or {}
        return (
            head and head.epoch,
            head and head.version,
            alias and alias.version,
            served.get("epoch"),
            served.get("version"),
        )


@pytest.fixture
def world(template: Settings, tmp_path: Path, free_ports, make_bundle) -> Iterator[World]:
    world = World(copy_world(template, tmp_path / "home", free_ports(2)), make_bundle)
    world.deployer.start()
    yield world
    world.deployer.stop()


AT_FIRST = (1, 1, 1, 1, 1)
AT_SECOND = (2, 2, 2, 2, 2)


def test_a_better_candidate_becomes_champion(world: World) -> None:
    assert world.state() == AT_FIRST
    release = world.release(2)
    gate = release.run("gate")
    assert gate.verdict == "passed" and gate.outputs["base_epoch"] == 1
    assert world.state() == AT_FIRST
    release.run("stage")
    assert world.state() == AT_FIRST
    assert release.run("commit").outputs["epoch"] == 2
    done = release.run("reconcile")
    assert done.outputs == {"epoch": 2, "version": 2, "served": world.settings.serving_url}
    assert world.state() == AT_SECOND
    op = world.ledger.ops("tiny")[-1]
    assert (op.state, op.actor) == (State.DONE, world.settings.actor)
    gated = next(row for row in world.ledger.history("tiny") if row.state is State.GATED)
    assert gated.evidence["digest"] == gated.candidate.digest
    gated = next(
        row
        for row in world.ledger.history("tiny")
        if row.state is State.GATED and row.candidate.version == 2
    )
    assert gated.evidence["champion"]["epoch"] == 1
    assert gated.evidence["eval_dataset"] == gated.candidate.eval_dataset
    assert (
        gated.evidence["candidate"]["log_loss"] < gated.evidence["champion"]["metrics"]["log_loss"]
    )
    assert world.ledger.verify() == []
    head = world.ledger.head("tiny")
    assert head is not None and [good["epoch"] for good in head.last_good] == [2, 1]


def test_an_old_release_again_is_already_done(world: World) -> None:
    world.release(2).run_all()
    rows = len(world.ledger.history("tiny"))
    again = world.release(1, "cleared")
    assert again.run("gate").text == "already done (epoch 1)"
    assert again.run("stage").text == "already done (epoch 1)"
    commit = again.run("commit")
    assert commit.text == "already done (epoch 1)"
    assert commit.outputs["epoch"] == 1
    assert again.run("reconcile").outputs["epoch"] == 2
    assert world.state() == AT_SECOND
    assert len(world.ledger.history("tiny")) == rows


def test_an_older_cut_off_is_superseded(world: World) -> None:
    world.release(2).run_all()
    with pytest.raises(Superseded, match="version 2"):
        world.release(3).run("gate")
    assert world.state() == AT_SECOND
    assert world.ledger.ops("tiny")[-1].state is State.SUPERSEDED


def test_bytes_that_served_before_and_are_trained_anew_are_judged(world: World) -> None:
    world.release(2).run_all()
    given = candidate(world.settings, 4, world.make_bundle)
    first = candidate(world.settings, 1, world.make_bundle)
    assert given["digest"] == first["digest"] and given["cutoff"] > first["cutoff"]
    made = world.registry.register("tiny", given["run_key"], given["digest"], given["bundle"], {})
    with pytest.raises(GateRefused, match="log_loss"):
        Release(world.settings, "anew", {**given, "version": made.version}).run("gate")
    assert world.state() == AT_SECOND
    # While its bytes serve, there is nothing to do for a version that was trained anew.
    serves = candidate(world.settings, 2, world.make_bundle)
    twin = {**serves, "version": 9, "sequence": 9, "cutoff": given["cutoff"]}
    assert Release(world.settings, "twin", twin).run("gate").text == "already done (epoch 2)"


def test_a_worse_candidate_is_rejected_and_no_file_can_help_it(world: World) -> None:
    world.release(2).run_all()
    settings = world.settings
    given = candidate(settings, 4, world.make_bundle)
    worse = world.make_bundle(settings.bundles_root, 1.0)
    given.update(digest=worse.digest, bundle=str(worse.folder), version=4)
    world.registry.register("tiny", given["run_key"], worse.digest, given["bundle"], {})
    release = Release(settings, "worse", given)
    with pytest.raises(GateRefused) as first:
        release.run("gate")
    rows = len(world.ledger.history("tiny"))
    with pytest.raises(GateRefused) as second:
        Release(settings, "again", given).run("gate")
    assert str(first.value) == str(second.value) and "log_loss" in str(first.value)
    assert len(world.ledger.history("tiny")) == rows
    op = world.ledger.ops("tiny")[-1]
    assert op.state is State.REJECTED
    forged = {"op_id": op.op_id, "base_epoch": 2, "candidate": given, "comparison": {}}
    ok = world.release(2).run("gate")
    release.results["gate"] = ok.model_copy(update={"outputs": forged, "verdict": "passed"})
    for step in ("stage", "commit"):
        with pytest.raises(GateRefused, match="log_loss"):
            release.run(step)
    assert world.state() == AT_SECOND


FORGERIES: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"version": 9}, PolicyRefused, "no registered version 9"),
    ({"digest": "f" * 64}, PolicyRefused, "registered with digest"),
    ({"run_key": "other"}, PolicyRefused, "registered with run_key"),
    ({"cutoff": "2019-01-01T00:00:00Z"}, PolicyRefused, "registered with cutoff"),
    ({"eval_dataset": "0" * 64}, PolicyRefused, "registered with eval_dataset"),
    ({"bundle": "/etc/evil"}, PolicyRefused, "is not"),
    ({"cutoff": "2013-01-07T00:00:00"}, SpecError, "time zone"),
    ({"surprise": 1}, SpecError, "surprise"),
    ({"version": "2; drop"}, SpecError, "version"),
]


def test_a_forged_candidate_is_refused(world: World) -> None:
    for number, (changes, error, text) in enumerate(FORGERIES):
        with pytest.raises(error, match=text):
            world.release(2, f"forged-{number}", changes).run("gate")
    assert world.state() == AT_FIRST
    assert {op.state for op in world.ledger.ops("tiny")} == {State.DONE}


def test_quarantined_and_frozen_are_refused(world: World) -> None:
    release = world.release(2)
    release.run("gate")
    release.run("stage")
    world.ledger.set_frozen("tiny", True, actor="ann", reason="an incident at night")
    with pytest.raises(PolicyRefused, match="frozen"):
        release.run("commit")
    world.ledger.set_frozen("tiny", False, actor="ann", reason="the incident is over")
    digest = release.given["digest"]
    world.ledger.quarantine("tiny", digest, why="wrong labels", actor="ann")
    with pytest.raises(PolicyRefused, match="wrong labels"):
        release.run("commit")
    with pytest.raises(PolicyRefused, match="wrong labels"):
        world.release(2, "again").run("gate")
    assert world.state() == AT_FIRST


def test_a_lost_race_is_gated_anew(world: World) -> None:
    slow = world.release(2, "slow")
    slow.run("gate")
    slow.run("stage")
    world.release(3, "fast").run_all()
    gated = world.release(2, "gated-again")
    assert gated.run("gate").outputs["base_epoch"] == 2
    with pytest.raises(PolicyRefused, match="GATED"):  # staged for the old verdict only
        gated.run("commit")
    assert slow.run("commit").outputs["epoch"] == 3  # judged and staged again, on the spot
    slow.run("reconcile")
    assert world.state() == (3, 2, 2, 3, 2)
    own = [row for row in world.ledger.history("tiny") if row.candidate.version == 2]
    assert [row.base_epoch for row in own if row.state is State.GATED] == [1, 2]


def test_a_lost_race_that_the_new_champion_wins_is_refused(world: World) -> None:
    loser = world.release(3, "loser")
    loser.run("gate")
    loser.run("stage")
    world.release(2, "winner").run_all()
    with pytest.raises(Superseded, match="version 2"):
        loser.run("commit")
    assert world.state() == AT_SECOND


def test_no_server_stops_a_release_before_the_commit(world: World) -> None:
    world.deployer.stop()
    release = world.release(2)
    release.run("gate")
    with pytest.raises(DependencyUnavailable, match="not reachable at http"):
        release.run("stage")
    with pytest.raises(PolicyRefused):
        release.run("commit")
    world.deployer.start()
    assert world.state() == AT_FIRST
    release.run("stage")
    release.run("commit")
    world.deployer.stop()
    with pytest.raises(DependencyUnavailable):
        release.run("reconcile")
    world.deployer.start()
    release.run("reconcile")
    assert world.state() == AT_SECOND


def test_a_flipped_byte_stops_a_release(world: World) -> None:
    release = world.release(2)
    release.run("gate")
    onnx = Path(release.given["bundle"]) / "model.onnx"
    content = bytearray(onnx.read_bytes())
    content[100] ^= 1
    onnx.write_bytes(content)
    with pytest.raises(IntegrityBroken, match="digest mismatch"):
        release.run("stage")
    with pytest.raises(PolicyRefused):
        release.run("commit")
    assert world.state() == AT_FIRST


def test_what_moved_by_hand_is_put_back(world: World) -> None:
    """The ledger is the truth: an alias moved elsewhere, a server that forgot."""
    world.release(2).run_all()
    world.registry.set_alias("tiny", CHAMPION, 1)
    world.deployer.stop()
    (world.settings.serving_root / "served.json").unlink()
    world.deployer.start()
    assert world.state() == (2, 2, 1, None, None)
    found = reconcile_all(world.settings)
    told = found["tiny"].pop("found")
    assert found == {"tiny": {"epoch": 2, "version": 2, "served": world.settings.serving_url}}
    assert len(told) == 1 and "moved by hand" in told[0]
    assert world.state() == AT_SECOND


def test_a_server_ahead_of_the_ledger_is_told(world: World) -> None:
    other = candidate(world.settings, 2, world.make_bundle)
    with ServingClient(main_endpoint(world.settings)) as client:
        where = {"bundle": other["bundle"], "digest": other["digest"]}
        client.load("tiny", version=2, epoch=9, **where)
    with pytest.raises(IntegrityBroken, match="ahead of the ledger"):
        reconcile_all(world.settings)


def test_the_next_gate_finishes_what_a_crash_left(world: World) -> None:
    crashed = world.release(3, "crashed")
    for step in ("gate", "stage", "commit"):
        crashed.run(step)
    assert world.state() == (2, 3, 1, 1, 1)
    world.release(2, "next").run("gate")
    assert world.state() == (2, 3, 3, 2, 3)


def test_commits_that_were_passed_over_are_closed(world: World) -> None:
    crashed = world.release(3, "crashed")
    for step in ("gate", "stage", "commit"):
        crashed.run(step)
    given = Candidate.model_validate(candidate(world.settings, 2, world.make_bundle))
    op = world.ledger.open_op(PROMOTE, "tiny", given, "ann", "test")
    for state in (State.REGISTERED, State.GATED, State.STAGED):
        base = 0 if state is State.REGISTERED else 2
        world.ledger.advance(op.op_id, state, {}, base_epoch=base)
    world.ledger.commit(op.op_id, 2)
    assert crashed.run("reconcile").outputs["epoch"] == 3
    assert world.state() == (3, 2, 2, 3, 2)
    ends = {op.candidate.version: op.state for op in world.ledger.ops("tiny")}
    assert ends == {1: State.DONE, 2: State.DONE, 3: State.SUPERSEDED}


def test_score_sends_each_event_once(world: World) -> None:
    settings, model = world.settings, declare(world.settings.zoo)
    window = Window(start=FIRST_DAY, end=FIRST_DAY + timedelta(days=2))

    def score(run_id: str) -> dict[str, Any]:
        request = StepRequest(
            model="tiny",
            step="score",
            run_id=run_id,
            run_uri=str(run_folder(settings.runs_root, "tiny", "monitoring", run_id)),
            window=window,
            spec_digest=model.digest,
        )
        return dict(run_step(request, model, settings).outputs)

    assert score("a") == {"sent": 2 * ROWS, "already": 0}
    logged = read_predictions(settings.predictions_root, "tiny", window.start, window.end)
    assert logged.num_rows == len(set(logged["entity_key"].to_pylist())) == 2 * ROWS
    assert logged["distance"].null_count == 2 * ROWS / 50
    assert score("b") == {"sent": 0, "already": 2 * ROWS}
    folder = settings.predictions_root / "tiny" / "date=2013-01-02"
    next(folder.glob("*.parquet")).unlink()  # as if a killed server had not written it
    assert score("c")["sent"] > 0
    again = read_predictions(settings.predictions_root, "tiny", window.start, window.end)
    assert sorted(again["entity_key"].to_pylist()) == sorted(logged["entity_key"].to_pylist())


def test_ledger_evidence_is_json(world: World) -> None:
    evidence = [op.evidence for op in world.ledger.history("tiny")]
    assert json.loads(json.dumps(evidence, allow_nan=False)) == evidence
