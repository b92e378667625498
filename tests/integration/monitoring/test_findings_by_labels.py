"""The finding by labels in a stage of a rollout: when it is made, and what keeps it from one."""

from pathlib import Path

import pyarrow as pa
import pytest
from exposed_world import ExposedWorld

from ferryman.rollout.evidence import Finding
from ferryman.runtime.traffic import Traffic, TrafficState, VariantFigures
from ferryman.spec.model import DeclaredModel
from ferryman.steps import rollout_evidence
from ferryman.steps.rollout_share import Exposure


@pytest.fixture
def world(tmp_path: Path, rain: DeclaredModel, monkeypatch: pytest.MonkeyPatch) -> ExposedWorld:
    monkeypatch.setattr(rollout_evidence, "_recent", {})  # all worlds have the same operations
    return ExposedWorld(tmp_path / "home", rain)


def finding(world: ExposedWorld) -> Finding:
    """By labels, in the first stage, beside a server that saw nothing."""
    exposure = Exposure(world.settings, world.model, world.ledger, world.op, 0)
    traffic = Traffic(
        op=world.op.op_id,
        variant="challenger",
        version=2,
        digest=world.op.candidate.digest,
        weight=0.5,
        base_epoch=1,
        fence=world.lease.serial,
        stage=0,
        lease=45.0,
    )
    nothing = VariantFigures()
    state = TrafficState(
        traffic=traffic, remaining=45.0, everywhere=True, champion=nothing, candidate=nothing
    )
    evidence = rollout_evidence.judge_stage(exposure, state)
    return next(one for one in evidence.findings if one.rule == "labels")


def test_what_cannot_be_read_decides_nothing(world: ExposedWorld) -> None:
    world.log([0], [0.5])
    world.publish(lambda _: 1.0, [0], kind=pa.float64())  # of an older declaration
    found = finding(world)
    assert found.outcome == "undecided"
    assert "no labels could be read" in found.text and "of type double" in found.text


def test_a_damaged_file_of_the_log_decides_nothing(world: ExposedWorld) -> None:
    world.log([0], [0.5])
    (file,) = world.settings.predictions_root.glob("rain/*/*.parquet")
    file.write_bytes(file.read_bytes()[:-9])
    found = finding(world)
    assert found.outcome == "undecided"
    assert "cannot be read" in found.text and file.name in found.text


@pytest.mark.parametrize("times", [0.0, 1e6])
def test_labels_are_looked_at_the_more_rarely_the_longer_it_takes(
    world: ExposedWorld, monkeypatch: pytest.MonkeyPatch, times: float
) -> None:
    monkeypatch.setattr(rollout_evidence, "_LABELS_EVERY", 0.0)
    monkeypatch.setattr(rollout_evidence, "_TIMES_AS_LONG", times)
    before = finding(world)
    world.log([0], [0.5])
    world.publish(lambda _: 1.0, [0], kind=pa.float64())
    assert (finding(world) == before) is (times > 0)
