"""Whoever looks after a canary is killed: users have the champion alone within a minute."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from release_world import Users
from rollback_world import World as Served
from rollout_world import CANARY, World
from services.long_tests import seeds

from ferryman.steps import rollout_share
from ferryman.steps.reconcile import reconcile_all

# What a controller does, in a process of its own; a shorter lease spares `make test` the minute.
CONTROLLER = """
import json, sys
given = json.load(sys.stdin)
sys.path.insert(0, given["tests"])
from release_world import Release
from ferryman.settings import Settings
from ferryman.steps import rollout_share
rollout_share.LEASE = given["lease"]
release = Release(Settings(**given["settings"]), "r", given["candidate"])
for step in ("gate", "stage", "expose-1"):
    release.run(step)
"""


@pytest.mark.parametrize("lease", seeds(12, int(rollout_share.LEASE)))
def test_a_canary_ends_with_its_controller(open_world: Callable[[str], World], lease: int) -> None:
    assert rollout_share.LEASE < 55
    world = open_world(CANARY.replace("hold: 1s", "hold: 10m"))
    served = Served(world.settings, world.make_bundle)
    names = {"home", "zoo", "serving_port", "serving_admin_port"}
    given = {
        "tests": str(Path(__file__).parents[2]),
        "lease": lease,
        "settings": world.settings.model_dump(mode="json", include=names),
        "candidate": world.release().given,
    }
    with Users(world.settings, world.rows, pause=0.05) as users:
        command = [sys.executable, "-c", CONTROLLER]
        with subprocess.Popen(command, stdin=subprocess.PIPE, text=True) as controller:
            assert controller.stdin is not None
            controller.stdin.write(json.dumps(given))
            controller.stdin.close()
            _wait(lambda: users.variants["canary"] > 3, 120)
            controller.kill()
        killed = time.monotonic()
        _wait(lambda: world.share_at_server() == 0, 60)
        assert time.monotonic() - killed < lease + 5
        before = users.variants["canary"]
        time.sleep(1)
        assert users.variants["canary"] - before <= 1  # one may have been on its way
    assert users.failed == 0
    assert served.state() == (1, 1, 1, 1, 1)
    reconcile_all(world.settings)
    assert (world.share_at_server(), world.ledger.verify()) == (0, [])


def _wait(is_so: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s"
        time.sleep(0.05)
