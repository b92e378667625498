"""A release that is killed at any numbered point, and run again, ends as if it had not been.

A world is killed at every eighth point, one after the other: so each point is met, some of them by
a release that was killed before, and not every point needs a server of its own.
"""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from crash_driver import KILLED
from release_world import Users, candidate, copy_world

from ferryman.deployment.process.process_deployer import ProcessDeployer
from ferryman.errors import ExitCode
from ferryman.ledger.ledger import Ledger
from ferryman.ledger.records import ALERT, STAGE, TRAFFIC, State
from ferryman.registry.mlflow_registry import MlflowRegistry
from ferryman.registry.registry import CHAMPION
from ferryman.runtime.endpoints import main_endpoint
from ferryman.serving.client import ServingClient
from ferryman.settings import Settings

DRIVER = Path(__file__).with_name("crash_driver.py")
STEPS, LEDGER = "ferryman.steps", "ferryman.ledger.ledger"
CLIENT, REGISTRY = "ferryman.serving.client", "ferryman.registry.mlflow_registry"
SHARE, ENDING = f"{STEPS}.rollout_share", f"{STEPS}.rollout_ending"
POINTS = [
    f"{STEPS}.gate:_check_registered:after:1",  # 1 before anything is written
    f"{STEPS}.gate:_given_verdict:after:1",  # 2 the operation is opened
    f"{STEPS}.gate:judge_candidate:before:1",  # 3 it is registered
    f"{STEPS}.gate:judge_candidate:after:1",  # 4 it is scored, the verdict not written
    f"{STEPS}.gate:_answer:before:1",  # 5 the verdict is written, the result not
    f"{CLIENT}:ServingClient.check:before:1",  # 6 nothing is staged
    f"{CLIENT}:ServingClient.check:after:1",  # 7 the server tried it, the ledger does not know
    f"{LEDGER}:Ledger.take_lease:before:1",  # 8 it is staged
    f"{LEDGER}:Ledger.take_lease:after:1",  # 9 the lease is taken
    f"{SHARE}:_note_share:before:1",  # 10 EXPOSED, no share
    f"{SHARE}:_note_share:after:1",  # 11 the ledger knows the share, the server does not
    f"{CLIENT}:ServingClient.expose:after:1",  # 12 users meet it, nobody looks after it
    f"{LEDGER}:Ledger.renew_lease:after:1",  # 13 the ledger's lease is renewed, the server's not
    f"{STEPS}.expose:judge_stage:after:2",  # 14 it was looked at
    f"{STEPS}.expose:_pass:before:1",  # 15 the stage is decided, and nothing written
    f"{LEDGER}:Ledger.note:after:1",  # 16 the stage is noted, the proof is not
    f"{STEPS}.expose:_passed:after:1",  # 17 PROVEN, without a result
    f"{LEDGER}:Ledger.commit:before:1",  # 18 it waits for its commit
    f"{LEDGER}:Ledger.commit:after:1",  # 19 it is decided, nobody was told
    f"{LEDGER}:Ledger.drop_lease:after:1",  # 20 the lease is given back
    f"{CLIENT}:ServingClient.load:before:1",  # 21 at the server's door
    f"{CLIENT}:ServingClient.load:after:1",  # 22 it is served, the alias is old
    f"{REGISTRY}:MlflowRegistry.set_alias:before:1",  # 23 the same, seen from the registry
    f"{REGISTRY}:MlflowRegistry.set_alias:after:1",  # 24 all is projected, nothing recorded
    f"{STEPS}.reconcile:_end_unknown_share:after:1",  # 25 the server's shares are looked at
    f"{STEPS}.reconcile:_record:after:1",  # 26 PROJECTED
    f"{STEPS}.reconcile:_record:after:2",  # 27 DONE, without a result
]
# In the middle of the transaction; by itself, for a commit is not begun twice.
IN_COMMIT = "ferryman.ledger.decision:_move_head:after:1"
# A candidate that breaks a limit, from the verdict to its end.
ENDINGS = [
    f"{ENDING}:end_share:before:1",  # 1 it failed, nothing is written: it is judged again
    f"{CLIENT}:ServingClient.withdraw:before:1",  # 2 the ledger took the share, the server has it
    f"{ENDING}:tell_once:before:1",  # 3 the champion answers all, nobody was told
    f"{LEDGER}:Ledger.note:before:1",  # 4 people are told, the ledger does not know
    f"{LEDGER}:Ledger.note:after:1",  # 5 that is noted
    f"{STEPS}.expose:finish:after:1",  # 6 ABORTED, the step has not ended
]
WORLDS = 8
CANARY = """\
rollout:
  strategy: canary
  stages: [{weight: 0.5, hold: 1s, patience: 60s}]
  limits: {errors: 0.5, latency: 30, shift: 0.95, min_requests: 20}
"""
BROKEN = CANARY.replace("shift: 0.95", "shift: 0.01")
PLANS = [[*POINTS[start::WORLDS]] for start in range(WORLDS)] + [[IN_COMMIT]]


def test_every_crash_point_ends_in_the_same_state(
    template: Settings, tmp_path: Path, free_ports: Any, make_bundle: Any
) -> None:
    worlds = _worlds(template, tmp_path, free_ports, [*[CANARY] * len(PLANS), BROKEN])
    plans = [*PLANS, ENDINGS]
    deployers = [ProcessDeployer(settings) for settings in worlds]
    rows = make_bundle(worlds[0].bundles_root, 0.1).rows
    try:
        with ThreadPoolExecutor(4) as threads:
            assert all(threads.map(ProcessDeployer.start, deployers))
        with ExitStack() as stack:  # beside those of the driver, who die with each attempt
            users = [stack.enter_context(Users(settings, rows, 0.1)) for settings in worlds]
            codes = _crash_and_rerun(worlds, plans, tmp_path, make_bundle)
        for asked in users:
            assert asked.failed == 0 and asked.versions.keys() <= {"1", "2"}
            assert asked.versions["1"] > 10
        for number, (settings, plan) in enumerate(zip(worlds[:-1], PLANS, strict=True)):
            assert codes[number] == [*[KILLED] * len(plan), 0], plan
            assert _final_state(settings) == EXPECTED, plan
        assert codes[-1] == [*[KILLED] * len(ENDINGS), int(ExitCode.GATE)]
        assert _final_state(worlds[-1]) == WITHDRAWN
    finally:
        with ThreadPoolExecutor(4) as threads:
            assert all(threads.map(ProcessDeployer.stop, deployers))


EXPECTED = {
    "head": (2, 2),
    "alias": 2,
    "served": (2, 2),
    "share": None,
    "ends": {1: State.DONE, 2: State.DONE},
    "commits": 2,
    "states": [
        *(State.TRAINED, State.REGISTERED, State.GATED, State.STAGED, State.EXPOSED),
        *(State.PROVEN, State.COMMITTED, State.PROJECTED, State.DONE),
    ],
    "shares": [0.5],
    "stages": 1,
    "alerted": False,
    "problems": [],
    "versions": 3,
}
WITHDRAWN = {
    **EXPECTED,
    "head": (1, 1),
    "alias": 1,
    "served": (1, 1),
    "ends": {1: State.DONE, 2: State.ABORTED},
    "commits": 1,
    "states": [
        *(State.TRAINED, State.REGISTERED, State.GATED, State.STAGED, State.EXPOSED),
        State.ABORTED,
    ],
    "shares": [0.5, 0.0],
    "stages": 0,
    "alerted": True,
}


def _worlds(
    template: Settings, tmp_path: Path, free_ports: Any, declared: list[str]
) -> list[Settings]:
    ports = free_ports(2 * len(declared))
    return [
        copy_world(template, tmp_path / str(n), ports[2 * n : 2 * n + 2], rollout)
        for n, rollout in enumerate(declared)
    ]


def _crash_and_rerun(
    worlds: list[Settings], plans: list[list[str]], tmp_path: Path, make_bundle: Any
) -> list[list[int]]:
    tasks = [
        {
            "name": str(number),
            "points": plan,
            "settings": settings.model_dump(
                mode="json", include={"home", "zoo", "serving_port", "serving_admin_port"}
            ),
            "candidate": candidate(settings, 2, make_bundle),
            "rows": make_bundle(settings.bundles_root, 0.1).rows,
        }
        for number, (settings, plan) in enumerate(zip(worlds, plans, strict=True))
    ]
    given, answer = tmp_path / "tasks.json", tmp_path / "codes.json"
    given.write_text(json.dumps(tasks))
    subprocess.run([sys.executable, str(DRIVER), str(given), str(answer)], check=True, timeout=400)
    codes: dict[str, list[int]] = json.loads(answer.read_text())
    return [codes[task["name"]] for task in tasks]


def _final_state(settings: Settings) -> dict[str, Any]:
    ledger = Ledger(settings.ledger_url)
    registry = MlflowRegistry(settings.mlflow_uri, settings.mlflow_artifacts)
    head, alias = ledger.head("tiny"), registry.get_alias("tiny", CHAMPION)
    assert head is not None and alias is not None
    history = ledger.history("tiny")
    with ServingClient(main_endpoint(settings)) as client:
        served, share = client.status("tiny") or {}, client.traffic("tiny")
    return {
        "head": (head.epoch, head.version),
        "alias": alias.version,
        "served": (served["epoch"], served["version"]),
        "share": share and share.traffic.weight,
        "ends": {op.candidate.version: op.state for op in ledger.ops("tiny")},
        "commits": sum(op.state is State.COMMITTED for op in history),
        "states": [op.state for op in history if op.candidate.version == 2],
        "shares": [note.evidence["weight"] for note in ledger.notes("tiny", TRAFFIC)],
        "stages": len(ledger.notes("tiny", STAGE)),
        "alerted": bool(ledger.notes("tiny", ALERT)),
        "problems": ledger.verify(),
        "versions": len(registry.versions("tiny")),
    }


@pytest.mark.parametrize("point", [*POINTS, IN_COMMIT, *ENDINGS])
def test_crash_points_exist(point: str) -> None:
    """A renamed function must not turn a crash test into one that never crashes."""
    module, name, _, _ = point.split(":")
    found: Any = __import__(module, fromlist=["x"])
    for part in name.split("."):
        found = getattr(found, part)
    assert callable(found)
