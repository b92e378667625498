"""Stages of a rollout through Airflow: a real server, requests on it, and the trigger itself."""

import threading
from datetime import UTC, datetime

import httpx
import pytest
from release_fixtures import api, begin, dag_of, head_of, roll_out, template, trained, world
from small_bundles import _small_bundles, free_ports, make_bundle

from ferryman.ledger.ledger import Ledger
from ferryman.ledger.records import STAGE, State

pytestmark = pytest.mark.filterwarnings("ignore::Warning:(?!ferryman).*")

__all__ = ["_small_bundles", "api", "begin", "dag_of", "free_ports", "make_bundle", "roll_out"]
__all__ += ["template", "trained", "world"]

# The candidate answers unlike the champion by construction: a shift is within these limits.
ROLLOUT = """\
rollout:
  strategy: canary
  stages:
    - {weight: 0.3, hold: 2s, patience: PATIENCE}
    - {weight: 0.6, hold: 2s, patience: PATIENCE}
  limits: {min_requests: 40, shift: 0.99, errors: 0.3, latency: 20.0}
"""


@pytest.fixture
def requests(world, make_bundle):
    """Users: many entities, one request each, until the test ends; (status, variant) of each."""
    rows = make_bundle(world.bundles_root, 1.0).rows
    answers, stop = [], threading.Event()

    def send():
        with httpx.Client(base_url=world.serving_url, trust_env=False, timeout=10) as http:
            number = 0
            while not stop.is_set():
                number += 1
                answer = http.post(
                    "/v1/models/tiny:predict",
                    json={"instances": [rows[number % len(rows)]]},
                    headers={"x-entity-key": f"entity-{number}"},
                )
                answers.append((answer.status_code, answer.headers.get("x-model-variant")))
                stop.wait(0.005)

    users = threading.Thread(target=send)
    users.start()
    yield answers
    stop.set()
    users.join()


def test_a_canary_passes_stage_by_stage_and_waits_in_the_triggerer(
    begin, roll_out, requests, world, capfd
):
    roll_out(ROLLOUT.replace("PATIENCE", "60s"))
    states = begin().states()
    log = "".join(capfd.readouterr())
    assert set(states.values()) == {"success"}, log[-3000:]
    assert {"canary_30pct", "canary_60pct"} <= set(states)
    assert "waiting in the triggerer" in log
    assert head_of(world) == (2, 2)
    ledger = Ledger(world.ledger_url)
    passed = [note.evidence["weight"] for note in ledger.notes("tiny", STAGE)]
    assert passed == [0.3, 0.6]
    assert ledger.routing("tiny", datetime.now(UTC)).weight == 0
    assert {status for status, _ in requests} == {200}
    assert {variant for _, variant in requests} == {"champion", "canary"}
    assert ledger.verify() == []


def test_a_canary_without_requests_is_withdrawn_and_nothing_is_promoted(
    begin, roll_out, world, capfd
):
    roll_out(ROLLOUT.replace("PATIENCE", "1s"))
    states = begin().states()
    assert states["canary_30pct"] == "failed"
    assert {states[name] for name in ("canary_60pct", "commit", "reconcile")} == {"upstream_failed"}
    assert "expose failed (exit 4)" in "".join(capfd.readouterr())
    assert head_of(world) == (1, 1)
    ledger = Ledger(world.ledger_url)
    assert ledger.history("tiny")[-1].state is State.ABORTED
    assert ledger.routing("tiny", datetime.now(UTC)).weight == 0
