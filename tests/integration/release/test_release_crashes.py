"""A release that is killed at any numbered point, and run again, ends as if it had not been."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from crash_driver import KILLED
from release_world import candidate, copy_world

from ferryman.deployment.process.process_deployer import ProcessDeployer
from ferryman.ledger.ledger import Ledger
from ferryman.ledger.records import State
from ferryman.registry.mlflow_registry import MlflowRegistry
from ferryman.registry.registry import CHAMPION
from ferryman.runtime.endpoints import main_endpoint
from ferryman.serving.client import ServingClient
from ferryman.settings import Settings

DRIVER = Path(__file__).with_name("crash_driver.py")
STEPS, LEDGER = "ferryman.steps", "ferryman.ledger.ledger"
CLIENT, REGISTRY = "ferryman.serving.client", "ferryman.registry.mlflow_registry"
POINTS = [
    f"{STEPS}.gate:_check_registered:after:1",  # 1 before anything is written
    f"{STEPS}.gate:_given_verdict:after:1",  # 2 the operation is opened
    f"{STEPS}.gate:judge_candidate:before:1",  # 3 it is registered
    f"{STEPS}.gate:judge_candidate:after:1",  # 4 it is scored, the verdict not written
    f"{STEPS}.gate:_answer:before:1",  # 5 the verdict is written, the result not
    f"{CLIENT}:ServingClient.check:before:1",  # 6 nothing is staged
    f"{CLIENT}:ServingClient.check:after:1",  # 7 the server tried it, the ledger does not know
    f"{LEDGER}:Ledger.commit:before:1",  # 8 it is staged
    f"{LEDGER}:move_head:after:1",  # 9 in the middle of the transaction
    f"{LEDGER}:Ledger.commit:after:1",  # 10 it is decided, nobody was told
    f"{CLIENT}:ServingClient.load:before:1",  # 11 at the server's door
    f"{CLIENT}:ServingClient.load:after:1",  # 12 it is served, the alias is old
    f"{REGISTRY}:MlflowRegistry.set_alias:before:1",  # 13 the same, seen from the registry
    f"{REGISTRY}:MlflowRegistry.set_alias:after:1",  # 14 all is projected, nothing recorded
    f"{STEPS}.reconcile:_record:after:1",  # 15 PROJECTED
    f"{STEPS}.reconcile:_record:after:2",  # 16 DONE, without a result
]


def test_every_crash_point_ends_in_the_same_state(
    template: Settings, tmp_path: Path, free_ports: Any, make_bundle: Any
) -> None:
    ports = free_ports(2 * len(POINTS))
    worlds = {
        point: copy_world(template, tmp_path / str(n), ports[2 * n : 2 * n + 2])
        for n, point in enumerate(POINTS)
    }
    deployers = [ProcessDeployer(settings) for settings in worlds.values()]
    try:
        for half in (POINTS[: len(POINTS) // 2], POINTS[len(POINTS) // 2 :]):
            started = [ProcessDeployer(worlds[point]) for point in half]
            with ThreadPoolExecutor(4) as threads:
                assert all(threads.map(ProcessDeployer.start, started))
            codes = _crash_and_rerun(
                {point: worlds[point] for point in half}, tmp_path, make_bundle
            )
            assert codes == {point: [KILLED, 0] for point in half}
            for point in half:
                assert _final_state(worlds[point]) == EXPECTED, point
            with ThreadPoolExecutor(4) as threads:
                assert all(threads.map(ProcessDeployer.stop, started))
    finally:
        for deployer in deployers:
            deployer.stop()


EXPECTED = {
    "head": (2, 2),
    "alias": 2,
    "served": (2, 2),
    "ends": {1: State.DONE, 2: State.DONE},
    "commits": 2,
    "states": sorted({*State} - {State.REJECTED, State.SUPERSEDED, State.FAILED}),
    "problems": [],
    "versions": 3,
}


def _crash_and_rerun(
    worlds: dict[str, Settings], tmp_path: Path, make_bundle: Any
) -> dict[str, list[int]]:
    tasks = [
        {
            "point": point,
            "settings": settings.model_dump(
                mode="json", include={"home", "zoo", "serving_port", "serving_admin_port"}
            ),
            "candidate": candidate(settings, 2, make_bundle),
        }
        for point, settings in worlds.items()
    ]
    given, answer = tmp_path / "tasks.json", tmp_path / "codes.json"
    given.write_text(json.dumps(tasks))
    subprocess.run([sys.executable, str(DRIVER), str(given), str(answer)], check=True, timeout=240)
    codes: dict[str, list[int]] = json.loads(answer.read_text())
    return codes


def _final_state(settings: Settings) -> dict[str, Any]:
    ledger = Ledger(settings.ledger_url)
    registry = MlflowRegistry(settings.mlflow_uri, settings.mlflow_artifacts)
    head, alias = ledger.head("tiny"), registry.get_alias("tiny", CHAMPION)
    assert head is not None and alias is not None
    history = ledger.history("tiny")
    with ServingClient(main_endpoint(settings)) as client:
        served = client.status("tiny") or {}
    return {
        "head": (head.epoch, head.version),
        "alias": alias.version,
        "served": (served["epoch"], served["version"]),
        "ends": {op.candidate.version: op.state for op in ledger.ops("tiny")},
        "commits": sum(op.state is State.COMMITTED for op in history),
        "states": sorted(op.state for op in history if op.candidate.version == 2),
        "problems": ledger.verify(),
        "versions": len(registry.versions("tiny")),
    }


@pytest.mark.parametrize("point", POINTS)
def test_crash_points_exist(point: str) -> None:
    """A renamed function must not turn a crash test into one that never crashes."""
    module, name, _, _ = point.split(":")
    found: Any = __import__(module, fromlist=["x"])
    for part in name.split("."):
        found = getattr(found, part)
    assert callable(found)
