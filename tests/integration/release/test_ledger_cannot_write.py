"""A ledger that cannot be written: what was asked for is refused before anybody else is told."""

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from release_world import Users
from rollback_world import World as Served
from rollout_world import ASKED, World, ledger_on_a_disk

from ferryman.errors import DependencyUnavailable
from ferryman.runtime.endpoints import main_endpoint
from ferryman.serving.client import ServingClient
from ferryman.settings import Settings
from ferryman.steps import rollout_share
from ferryman.steps.approve import record_answer
from ferryman.steps.roll_back import Asked, roll_back

REASON = "the evidence was looked at"


@contextmanager
def read_only(disk: Path) -> Iterator[None]:
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    try:
        yield
    finally:
        subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)


@contextmanager
def full(disk: Path) -> Iterator[None]:
    ballast = disk / "ballast"
    try:
        with pytest.raises(OSError, match="No space left"), ballast.open("wb", 0) as file:
            while True:
                file.write(b"x" * 4096)
        yield
    finally:
        ballast.unlink()


@pytest.fixture
def world(
    template: Settings,
    tmp_path: Path,
    free_ports: Callable[[int], list[int]],
    make_bundle: Callable[..., Any],
) -> Iterator[World]:
    """A model whose releases are approved and exposed, and a ledger on a small disk of its own."""
    with ledger_on_a_disk(template, tmp_path, free_ports(2), ASKED, make_bundle) as world:
        yield world


@pytest.mark.parametrize("broken", [read_only, full])
def test_nothing_goes_out_that_the_ledger_cannot_keep(
    world: World, broken: Callable[[Path], Any], tmp_path: Path
) -> None:
    served, settings = Served(world.settings, world.make_bundle), world.settings
    release = world.release()

    def refused(act: Callable[[], object], epoch: int = 1) -> None:
        before, rows = _outside(served), len(world.ledger.history("tiny"))
        with (
            broken(tmp_path / "disk"),
            pytest.raises(DependencyUnavailable, match=r"ledger .* is not available") as told,
        ):
            act()
        assert "Free the disk or make the ledger writable" in told.value.remedy
        assert _outside(served) == before
        assert before[:5] == (epoch, epoch, epoch, epoch, epoch)
        assert len(world.ledger.history("tiny")) == rows

    def answer() -> object:
        op = world.ledger.ops("tiny")[-1]
        asked = (settings, release.model, op.op_id, 1, op.candidate.digest)
        return record_answer(*asked, True, "bea", "ann", REASON)

    steps = ["gate", "stage", "approve", "expose-1", "expose-2", "commit", "reconcile"]
    with Users(settings, world.rows) as users:
        for step in steps[:-1]:
            act = answer if step == "approve" else lambda step=step: release.run(step)
            refused(act)
            act()
            if step == "approve":
                release.run(step)
        release.run(steps[-1])
        refused(lambda: roll_back(settings, "tiny", Asked("ann", REASON)), epoch=2)
        refused(lambda: world.ledger.set_frozen("tiny", True, actor="ann", reason=REASON), epoch=2)
        roll_back(settings, "tiny", Asked("ann", REASON))
    assert served.state() == (3, 1, 1, 3, 1)
    assert users.failed == 0 and users.versions.keys() == {"1", "2"}
    assert world.ledger.verify() == []


@pytest.mark.parametrize("broken", [read_only, full])
def test_a_share_that_the_ledger_cannot_renew_runs_out(
    world: World, broken: Callable[[Path], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rollout_share, "LEASE", 4.0)
    release, op = world.staged()
    decided = (world.settings, release.model, op.op_id, 1, op.candidate.digest)
    record_answer(*decided, True, "bea", "ann", REASON)
    assert world.look(release.model, op).outcome == "hold"
    assert world.share_at_server() == 0.3
    with Users(world.settings, world.rows) as users:
        with broken(tmp_path / "disk"):
            deadline = time.monotonic() + 30
            while world.share_at_server():
                assert time.monotonic() < deadline
                try:
                    assert world.look(release.model, op).outcome == "hold"
                except DependencyUnavailable as error:
                    assert "is not available" in error.text
                time.sleep(0.2)
        while "lease was lost" not in world.look(release.model, op).text:
            assert time.monotonic() < deadline
        assert world.look(release.model, op).outcome == "hold"
        assert world.share_at_server() == 0.3
    assert world.shares() == [0.3, 0.0, 0.3]
    assert users.failed == 0
    assert world.ledger.verify() == []


def _outside(served: Served) -> tuple[Any, ...]:
    """Ledger, alias, what is served, the candidate's share, and what MLflow has registered."""
    with ServingClient(main_endpoint(served.settings)) as client:
        share = client.traffic("tiny")
    versions = [(one.version, one.tags) for one in served.registry.versions("tiny")]
    return *served.state(), share and share.traffic.weight, versions
