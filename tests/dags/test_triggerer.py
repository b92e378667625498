"""A stage that waits in a real triggerer, which is killed and started again."""

import contextlib
import os
import signal
import subprocess
import sys
import time

import pytest
from one_process import OneProcessRun
from release_fixtures import api, dag_of, head_of, roll_out, template, trained, world
from small_bundles import _small_bundles, free_ports, make_bundle
from test_exposure import ROLLOUT, requests

from ferryman.ledger.ledger import Ledger

pytestmark = pytest.mark.filterwarnings("ignore::Warning:(?!ferryman).*")

__all__ = ["_small_bundles", "api", "dag_of", "free_ports", "make_bundle", "requests", "roll_out"]
__all__ += ["template", "trained", "world"]

PATIENCE = 150.0  # seconds, on a busy machine


@contextlib.contextmanager
def _triggerer(log):
    """Airflow's triggerer over this session's database; killed at the end, as a machine dies."""
    environment = {**os.environ, "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "15"}
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "airflow", "triggerer", "--skip-serve-logs"],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _await(condition, log):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, log.read_text()[-3000:]
        time.sleep(0.2)


def test_a_killed_triggerer_goes_on_where_the_ledger_says(
    api, dag_of, roll_out, trained, requests, world, tmp_path
):
    roll_out(ROLLOUT.replace("2s", "8s").replace("PATIENCE", "300s"))
    run = OneProcessRun(api.client, dag_of("release"), api.rita, {"run": trained(2)})
    run.inline_triggers = False
    assert run.advance()["canary_30pct"] == "deferred"
    ledger, log = Ledger(world.ledger_url), tmp_path / "triggerer.txt"
    first = ledger.lease("tiny")
    with _triggerer(log):
        _await(lambda: _renewed(ledger, first), log)
    assert run.states()["canary_30pct"] == "deferred"
    with _triggerer(log):
        for stage in ("canary_30pct", "canary_60pct"):
            _await(lambda name=stage: run.states()[name] == "scheduled", log)
            states = run.advance()
            assert states[stage] == "success"
    assert set(states.values()) == {"success"}
    assert head_of(world) == (2, 2)
    assert {status for status, _ in requests} == {200}


def _renewed(ledger, first):
    now = ledger.lease("tiny")
    return now is not None and now.expires_at > first.expires_at
