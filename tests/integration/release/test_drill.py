"""A bad model on purpose: caught by the rules of every release, else the drill is red."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from drill_world import report, run_drill
from release_world import Users
from rollback_world import alert_channel
from rollout_world import CANARY, World, ledger_on_a_disk

from ferryman.errors import (
    DependencyUnavailable,
    ExitCode,
    FerrymanError,
    GateRefused,
    LostRace,
    PolicyRefused,
    SpecError,
)
from ferryman.ledger.records import ALERT, DRILL, Op, State
from ferryman.settings import Settings
from ferryman.steps import drill

# Models of a few rows answer much alike: a real one is allowed less.
DRILL_SPEC = "drill: {weight: 0.5, within: 20s}"
LIMITS = "limits: {errors: 0.2, latency: 30, shift: 0.3, min_requests: 300}"
DECLARED = f"rollout: {{strategy: direct, {LIMITS}, {DRILL_SPEC}}}\n"
BLIND = DECLARED.replace("shift: 0.3", "shift: 0.99").replace("within: 20s", "within: 6s")


def only_op(world: World) -> Op:
    """The one drill in the ledger."""
    [op] = [op for op in world.ledger.ops("tiny") if op.kind == DRILL]
    return op


def all_is_over(world: World, epoch: int = 1) -> bool:
    """No share, no lease to wait for, no bad bundle left; the champion is who it was."""
    head = world.ledger.head("tiny")
    left = list((world.settings.bundles_root / ".drills" / "tiny").glob("*"))
    return (
        world.share_at_server() == 0
        and world.ledger.routing("tiny").weight == 0
        and head is not None
        and head.epoch == head.version == epoch
        and left == []
        and world.ledger.verify() == []
    )


def test_a_constant_model_is_caught_with_the_drills_own_requests(
    open_world: Callable[[str], World],
) -> None:
    world = open_world(DECLARED)
    with alert_channel() as (url, received):
        done = run_drill(world, url)
    found = report(world)
    assert done.verdict == "passed" and done.outputs == found["all"]
    assert [found[name]["ok"] for name in ("detection", "return", "alert", "ledger")] == [True] * 4
    assert 0 < found["detection"]["seconds"] <= found["alert"]["seconds"] < 20
    assert "shift" in found["detection"]["text"]
    assert "100 answers by version 1" in found["return"]["text"]
    assert found["all"]["own_requests"] > 100 and found["all"]["failed_answers"] == 0
    [told] = received
    assert told["title"] == "tiny: fire drill aborted" and told["kind"] == DRILL
    op = only_op(world)
    states = [row.state for row in world.ledger.history("tiny") if row.kind == DRILL]
    assert states == [State.REQUESTED, State.STAGED, State.EXPOSED, State.ABORTED]
    assert world.shares() == [0.5, 0.0] and len(world.ledger.notes("tiny", ALERT)) == 1
    assert all_is_over(world)
    with pytest.raises(PolicyRefused):
        world.ledger.commit(op.op_id, op.base_epoch)
    assert [one.version for one in world.ledger.protected("tiny")] == [1]


def test_live_traffic_is_enough_and_nobody_gets_an_error(
    open_world: Callable[[str], World],
) -> None:
    world = open_world(DECLARED.replace("within: 20s", "within: 60s"))
    with alert_channel() as (url, _), Users(world.settings, world.rows, pause=0.005) as users:
        done = run_drill(world, url, kind="nan")
    assert done.outputs["own_requests"] == 0
    assert "errors" in report(world)["detection"]["text"]
    assert users.failed == 0
    assert users.versions.keys() == {"1"}  # the champion answered in its place
    assert users.variants["fallback"] > 5
    assert all_is_over(world)


def test_a_detection_that_is_off_makes_the_drill_red(open_world: Callable[[str], World]) -> None:
    world = open_world(BLIND)
    world.release(2).run_all()  # of answers so different that their opposites are no others
    with (
        alert_channel() as (url, received),
        pytest.raises(GateRefused, match="detection: no rule found the bad model") as red,
    ):
        run_drill(world, url, kind="inverted")
    assert "not detected within 6 s" in red.value.text
    assert len(received) == 1  # people are told of that, too
    assert report(world)["detection"]["ok"] is False
    assert report(world)["return"]["ok"] is False  # after the time that is allowed
    assert only_op(world).state is State.ABORTED and all_is_over(world, 2)


@pytest.mark.parametrize(
    ("channel", "said"),
    [(None, "nobody was told: .*alerts"), ("http://127.0.0.1:9/", "did not take the alert")],
)
def test_without_an_alert_it_is_red(
    open_world: Callable[[str], World], channel: str | None, said: str
) -> None:
    world = open_world(DECLARED)
    with pytest.raises(GateRefused, match=said) as red:
        run_drill(world, channel)
    assert "detection" not in red.value.text and "ledger" not in red.value.text
    assert [report(world)[name]["ok"] for name in ("detection", "alert")] == [True, False]
    assert all_is_over(world)


@pytest.fixture
def on_small_disk(
    template: Settings, tmp_path: Path, free_ports: Any, make_bundle: Any
) -> Iterator[World]:
    """A world whose ledger is on a disk of its own."""
    with ledger_on_a_disk(template, tmp_path, free_ports(2), DECLARED, make_bundle) as world:
        yield world


def remount(tmp_path: Path, how: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{how}", str(tmp_path / "disk")], check=True)


def test_a_ledger_that_turns_read_only_makes_it_red_and_the_share_ends(
    on_small_disk: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, look = on_small_disk, drill.look

    def break_the_disk(*given: Any, **more: Any) -> Any:
        seen = look(*given, **more)
        assert world.share_at_server() == 0.5
        remount(tmp_path, "ro")
        return seen

    with alert_channel() as (url, _):
        with monkeypatch.context() as broken:
            broken.setattr(drill, "look", break_the_disk)
            with pytest.raises(FerrymanError) as red:
                run_drill(world, url)
        assert red.value.exit_code in (ExitCode.GATE, ExitCode.UNAVAILABLE)
        assert world.share_at_server() == 0
        with pytest.raises(DependencyUnavailable):
            run_drill(world, url, "second")
        remount(tmp_path, "rw")
        assert only_op(world).state is State.EXPOSED
        # The same run goes on where it was.
        done = run_drill(world, url)
    assert done.verdict == "passed" and all_is_over(world)


def test_it_is_refused_beside_a_release_a_freeze_and_in_a_cluster(
    open_world: Callable[[str], World],
) -> None:
    world = open_world(CANARY)
    release, op = world.staged()
    assert world.look(release.model, op).outcome == "hold"
    with pytest.raises(PolicyRefused, match="version 2 is exposed"):
        run_drill(world, None)
    assert world.share_at_server() == 0.3  # the release goes on
    world.ledger.set_frozen("tiny", True, actor="ann", reason="an incident at night")
    with pytest.raises(PolicyRefused, match="frozen"):
        world.look(release.model, op)
    world.ledger.advance(op.op_id, State.ABORTED, {}, base_epoch=1)
    with pytest.raises(PolicyRefused, match="frozen"):
        run_drill(world, None)
    file = world.settings.zoo / "tiny" / "model.yaml"
    file.write_text(file.read_text() + "serving: {server: pods}\n")
    pods = {"image": f"r.example/f@sha256:{'a' * 64}", "bundles": "lake", "url": "http://m:1"}
    servers = {"spec_version": 1, "servers": {"pods": {"place": "kubernetes", "kubernetes": pods}}}
    (world.settings.zoo / "servers.yaml").write_text(json.dumps(servers))
    with pytest.raises(SpecError, match="cluster"):
        run_drill(world, None)


def test_a_champion_that_changes_ends_the_drill(
    open_world: Callable[[str], World], monkeypatch: pytest.MonkeyPatch
) -> None:
    world = open_world(DECLARED)
    _, op = world.staged()
    look = drill.look

    def commit_meanwhile(*given: Any, **more: Any) -> Any:
        seen = look(*given, **more)
        world.ledger.commit(op.op_id, 1)
        return seen

    monkeypatch.setattr(drill, "look", commit_meanwhile)
    with alert_channel() as (url, _), pytest.raises(LostRace, match="champion changed"):
        run_drill(world, url)
    assert only_op(world).state is State.ABORTED
    assert world.share_at_server() == 0


def environment(settings: Settings) -> dict[str, str]:
    """What a command needs to find an installation."""
    names = ("home", "zoo", "serving_port", "serving_admin_port")
    told = {f"FERRYMAN_{name.upper()}": str(getattr(settings, name)) for name in names}
    return {**os.environ, **told}


def kill_while_exposed(world: World, run_id: str) -> Op:
    """Begin a drill by the command line, and kill it as soon as the server gives a share away."""
    command = [sys.executable, "-m", "ferryman.cli", "drill", "--model", "tiny", "--run-id", run_id]
    process = subprocess.Popen(command, env=environment(world.settings))
    try:
        while world.share_at_server() == 0:
            assert process.poll() is None
    finally:
        process.kill()
        process.wait()
    return next(op for op in reversed(world.ledger.ops("tiny")) if op.kind == DRILL)


def test_a_killed_drill_is_continued_by_its_run_and_ended_by_the_next(
    open_world: Callable[[str], World],
) -> None:
    world = open_world(DECLARED)
    first = kill_while_exposed(world, "d")
    with alert_channel() as (url, _):
        with pytest.raises(PolicyRefused, match="another drill"):
            run_drill(world, url, "other")
        assert run_drill(world, url).outputs["op"] == first.op_id
        assert all_is_over(world)
        left = kill_while_exposed(world, "left")
        assert left.op_id != first.op_id
        lease = world.ledger.lease("tiny")
        assert lease is not None
        world.ledger.renew_lease("tiny", lease.serial, 0.01)
        while world.ledger.lease("tiny") is not None:  # until its time is over
            time.sleep(0.01)
        assert run_drill(world, url, "other").verdict == "passed"
    ended = world.ledger.op(left.op_id)
    assert ended is not None and ended.state is State.ABORTED
    assert world.share_at_server() == 0 and world.ledger.verify() == []
