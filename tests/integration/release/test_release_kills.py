"""A rollback, an adoption or a late verdict that is killed at any numbered point, and run again,
ends as if it had not been; users are answered all the while.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from crash_driver import KILLED
from late_world import against, late_world
from release_world import Users, copy_world
from rollback_world import REASON, World

from ferryman.ledger.records import ADOPT, ALERT, ROLLBACK, State
from ferryman.runtime.endpoints import main_endpoint
from ferryman.runtime.traffic import Traffic
from ferryman.serving.client import ServingClient
from ferryman.settings import Settings

DRIVER = Path(__file__).with_name("kill_driver.py")
STEPS, LEDGER = "ferryman.steps", "ferryman.ledger.ledger"
CLIENT, REGISTRY = "ferryman.serving.client", "ferryman.registry.mlflow_registry"
ENDS = [
    f"{LEDGER}:Ledger.commit:before:1",  # it waits for its commit
    "ferryman.ledger.decision:_move_head:after:1",  # in the middle of the transaction
    f"{LEDGER}:Ledger.commit:after:1",  # it is decided, nobody was told
    f"{CLIENT}:ServingClient.load:before:1",  # at the server's door
    f"{CLIENT}:ServingClient.load:after:1",  # it is served, the alias is old
    f"{REGISTRY}:MlflowRegistry.set_alias:before:1",  # the same, seen from the registry
    f"{REGISTRY}:MlflowRegistry.set_alias:after:1",  # all is projected, nothing recorded
    f"{STEPS}.reconcile:_record:after:1",  # PROJECTED
    f"{STEPS}.reconcile:_record:after:2",  # DONE
]
# The end of a candidate's share, which is got past once: a world for each.
SHARE_ENDS = [
    f"{LEDGER}:Ledger.set_traffic:after:1",  # the ledger took it, the server gives it still
    f"{CLIENT}:ServingClient.withdraw:after:1",  # the champion answers all, the lease is held
    f"{LEDGER}:Ledger.drop_lease:after:1",  # it is given back
]
BACK = [
    f"{CLIENT}:ServingClient.check:before:1",  # no target was tried
    f"{CLIENT}:ServingClient.check:after:1",  # one is in order, nothing is written
    f"{LEDGER}:Ledger.open_rollback:after:1",  # REQUESTED
    f"{LEDGER}:Ledger.advance:after:1",  # STAGED
    *ENDS,
    f"{STEPS}.roll_back:check_answer:before:1",  # all agrees, nobody asked for an answer
    f"{STEPS}.roll_back:_follow:after:1",  # all is done, without a result
]
ADOPTED = [
    f"{LEDGER}:Ledger.open_adoption:after:1",  # REQUESTED
    f"{STEPS}.adopt:judge_candidate:after:1",  # judged, nothing is written
    f"{CLIENT}:ServingClient.check:after:1",  # the server tried it
    f"{LEDGER}:Ledger.advance:after:1",  # STAGED
    *ENDS,
]
# What evidence asks for, from the labels to the word that people get of it.
VERDICT = [
    f"{STEPS}.verdict:_exposed_release:after:1",  # 1 the release is found
    f"{STEPS}.verdict:labelled_losses:after:1",  # 2 its answers have their labels
    f"{STEPS}.verdict:_note:before:1",  # 3 it proved worse, nothing is written
    f"{STEPS}.verdict:_note:after:1",  # 4 the look is noted, nothing follows from it
    *BACK,  # 5 to 19
    f"{STEPS}.rollback_by_evidence:alert:before:1",  # 20 all is done, nobody was told
    f"{STEPS}.rollback_by_evidence:alert:after:1",  # 21 people were told, the ledger does not know
    f"{STEPS}.rollback_by_evidence:_tell_once:after:1",  # 22 that is noted, without a result
]
PLANS = [[first, *BACK[number::3]] for number, first in enumerate(SHARE_ENDS)] + [ADOPTED]
ROLLED_BACK = {
    "state": (3, 1, 1, 3, 1),
    "made": (ROLLBACK, 2, State.DONE),
    "commits": 3,
    "quarantined": [3],
    "share": (0.0, None),
    "lease": None,  # the next candidate waits for nobody
    "problems": [],
}
TAKEN_OVER = {
    **ROLLED_BACK,
    "state": (3, 2, 2, 3, 2),
    "made": (ADOPT, 2, State.DONE),
    "quarantined": [],
}


@pytest.fixture
def worlds(
    template: Settings, tmp_path: Path, free_ports: Any, make_bundle: Any
) -> Iterator[list[World]]:
    """Version 3 serves at epoch 2; before a rollback version 2 has a share beside it."""
    ports = free_ports(2 * len(PLANS))
    found = [
        World(copy_world(template, tmp_path / str(n), ports[2 * n : 2 * n + 2]), make_bundle)
        for n in range(len(PLANS))
    ]
    deployers = [world.deployer for world in found]
    try:
        with ThreadPoolExecutor(4) as threads:
            list(threads.map(lambda deployer: deployer.start(), deployers))
        for world in found:
            world.serve(3)
        for world in found[:-1]:
            give_a_share(world)
        yield found
    finally:
        with ThreadPoolExecutor(4) as threads:
            list(threads.map(lambda deployer: deployer.stop(), deployers))


def give_a_share(world: World) -> None:
    op = world.staged(2)
    lease = world.ledger.take_lease("tiny", op.op_id, "controller", 300)
    world.ledger.advance(op.op_id, State.EXPOSED, {})
    told = {"variant": "canary", "weight": 0.5, "stage": 0}
    world.ledger.set_traffic(
        op.op_id, serial=lease.serial, reason="a test", evidence={}, lease_seconds=300.0, **told
    )
    traffic = Traffic(
        op=op.op_id,
        version=2,
        digest=op.candidate.digest,
        base_epoch=op.base_epoch,
        fence=lease.serial,
        lease=300.0,
        **told,
    )
    with ServingClient(main_endpoint(world.settings)) as client:
        assert client.expose("tiny", traffic, op.candidate.bundle).everywhere


def test_every_kill_ends_in_the_same_state(
    worlds: list[World], tmp_path: Path, make_bundle: Any
) -> None:
    rows = make_bundle(worlds[0].settings.bundles_root, 0.1).rows
    with ExitStack() as stack:
        users = [stack.enter_context(Users(world.settings, rows, 0.1)) for world in worlds]
        codes = kill_and_run_again(worlds, tmp_path)
    for number, (world, plan) in enumerate(zip(worlds, PLANS, strict=True)):
        assert codes[number] == [*[KILLED] * len(plan), 0], plan
        assert what_is(world) == (TAKEN_OVER if plan is ADOPTED else ROLLED_BACK), plan
        assert users[number].failed == 0 and users[number].variants["champion"] > 10


def test_a_verdict_is_carried_out_whenever_it_is_killed(
    template: Settings, tmp_path: Path, free_ports: Any, make_bundle: Any
) -> None:
    world = late_world(template, tmp_path, free_ports(2), make_bundle, "canary")
    rows = make_bundle(world.settings.bundles_root, 0.1).rows
    world.deployer.start()
    try:
        world.expose(0.4)
        world.publish(against("canary"))
        with Users(world.settings, rows, 0.1) as users:
            (codes,) = run_driver([task_of(world, VERDICT, "verdict")], tmp_path)
        assert codes == [*[KILLED] * len(VERDICT), 0]
        expected = {**ROLLED_BACK, "quarantined": [2]}
        assert what_is(world) == expected
        assert [look["outcome"] for look in world.looks()] == ["failed"]
        (told,) = world.ledger.notes("tiny", ALERT)
        assert (told.evidence["rule"], told.evidence["left"]) == ("labels", 2)
        assert world.run("verdict").verdict == "not_needed"
        assert len(world.ledger.notes("tiny", ALERT)) == 1
        assert users.failed == 0 and users.variants["champion"] > 10
    finally:
        world.deployer.stop()


def kill_and_run_again(worlds: list[World], tmp_path: Path) -> list[list[int]]:
    back, adopted = {"reason": REASON, "epoch": 2}, {"reason": REASON, "version": 2}
    tasks = [
        task_of(world, plan, "adopt", **adopted)
        if plan is ADOPTED
        else task_of(world, plan, "roll_back", **back)
        for world, plan in zip(worlds, PLANS, strict=True)
    ]
    return run_driver(tasks, tmp_path)


def task_of(world: World, points: list[str], step: str, **params: Any) -> dict[str, Any]:
    told = {"home", "zoo", "serving_port", "serving_admin_port"}
    settings = world.settings.model_dump(mode="json", include=told)
    return {"points": points, "settings": settings, "step": step, "params": params}


def run_driver(tasks: list[dict[str, Any]], tmp_path: Path) -> list[list[int]]:
    given, answer = tmp_path / "tasks.json", tmp_path / "codes.json"
    given.write_text(json.dumps(tasks))
    subprocess.run([sys.executable, str(DRIVER), str(given), str(answer)], check=True, timeout=400)
    codes: list[list[int]] = json.loads(answer.read_text())
    return codes


def what_is(world: World) -> dict[str, Any]:
    made = world.ledger.made_by("tiny")
    assert made is not None
    op = world.ledger.op(made.op_id)
    with ServingClient(main_endpoint(world.settings)) as client:
        share = client.traffic("tiny")
    history = world.ledger.history("tiny")
    return {
        "state": world.state(),
        "made": (made.kind, made.base_epoch, op and op.state),
        "commits": sum(row.state is State.COMMITTED for row in history),
        "quarantined": [
            version
            for version in (1, 2, 3)
            if world.ledger.is_quarantined("tiny", world.digest(version))
        ],
        "share": (world.ledger.routing("tiny").weight, share),
        "lease": world.ledger.lease("tiny"),
        "problems": world.ledger.verify(),
    }


@pytest.mark.parametrize("point", [*SHARE_ENDS, *ADOPTED, *VERDICT])
def test_kill_points_exist(point: str) -> None:
    """A renamed function must not turn a kill into none."""
    module, name, _, _ = point.split(":")
    found: Any = __import__(module, fromlist=["x"])
    for part in name.split("."):
        found = getattr(found, part)
    assert callable(found)
