"""Rollouts from end to end: a shadow, an A/B test, a canary by the command line."""

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from release_world import Release, Users, candidate
from rollout_world import AB, ASKED, SHADOW, World

from ferryman.errors import ExitCode, GateRefused, PolicyRefused
from ferryman.ledger.records import STAGE
from ferryman.runtime.messages import StepRequest, StepResult
from ferryman.runtime.run_store import run_folder, store_result
from ferryman.settings import Settings
from ferryman.steps.journey import Journey


def test_a_shadow_answers_nobody_and_is_released(open_world: Callable[[str], World]) -> None:
    world = open_world(SHADOW)
    release = world.release()
    with Users(world.settings, world.rows) as users:
        for step in ("gate", "stage", "expose-1"):
            release.run(step)
    assert set(users.variants) == {"champion"} and users.failed == 0
    passed = world.ledger.notes("tiny", STAGE)[-1].evidence
    assert passed["copied"] >= passed["requests"]["candidate"] >= 20
    assert release.run("commit").outputs["epoch"] == 2
    assert release.run("reconcile").outputs["version"] == 2
    assert world.share_at_server() == 0


def test_an_ab_test_without_labels_is_undecided(open_world: Callable[[str], World]) -> None:
    world = open_world(AB)
    release = world.release()
    with Users(world.settings, world.rows) as users:
        release.run("gate")
        release.run("stage")
        with pytest.raises(GateRefused, match=r"undecided: .*labelled answers"):
            release.run("expose-1")
    assert users.variants["challenger"] > 20 and users.failed == 0
    rules = {
        one["rule"]: one["outcome"] for one in world.ledger.ops("tiny")[-1].evidence["findings"]
    }
    assert rules["labels"] == "undecided" and rules["errors"] == "passed"
    assert world.share_at_server() == 0


def test_the_command_line_goes_through_approval_and_stages(
    open_world: Callable[[str], World],
) -> None:
    world = open_world(ASKED)
    given = candidate(world.settings, 2, world.make_bundle)
    journey = Journey(world.settings, Release(world.settings, "r", given).model)
    _pretend_training(world.settings, given)
    with pytest.raises(PolicyRefused, match="waits for the answer"):
        list(journey.run("release"))
    assert _ferryman(world.settings, "carl", "approve") == ExitCode.POLICY
    assert _ferryman(world.settings, "bea", "approve") == ExitCode.DONE
    with Users(world.settings, world.rows) as users:
        results = list(journey.run("release"))
    steps = [result.step for result in results]
    assert steps[:2] == ["gate", "stage"] and steps[-2:] == ["commit", "reconcile"]
    assert [result.outputs["stage"] for result in results if result.step == "expose"] == [0, 1]
    assert users.failed == 0 and users.versions.keys() == {"1", "2"}
    head = world.ledger.head("tiny")
    assert head is not None and (head.epoch, head.version) == (2, 2)


def _pretend_training(settings: Settings, given: dict[str, Any]) -> None:
    """The results of a training run that made a candidate."""
    folder = str(run_folder(settings.runs_root, "tiny", "training", "pretended"))
    for step in ("train", "register"):
        request = StepRequest(
            model="tiny", step=step, run_id="pretended", run_uri=folder, spec_digest="0"
        )
        result = StepResult(
            model="tiny", step=step, request_digest=request.digest, outputs=dict(given)
        )
        store_result(request, result)


def _ferryman(settings: Settings, actor: str, command: str) -> int:
    """Run `ferryman approve` (or reject) of version 2 as somebody; its exit code."""
    own = {"HOME": settings.home, "ZOO": settings.zoo, "ACTOR": actor}
    environment = {f"FERRYMAN_{name}": str(value) for name, value in own.items()}
    asked = [command, "-m", "tiny", "-v", "2", "-r", "its worst slice is better"]
    done = subprocess.run(
        [sys.executable, "-m", "ferryman.cli", *asked],
        env={**os.environ, **environment},
        timeout=60,
        check=False,
    )
    return done.returncode
