"""Stages of a rollout through Airflow: a real server, requests on it, and the trigger itself."""

import threading
from datetime import UTC, datetime

import httpx
import pytest
from one_process import OneProcessRun
from release_world import Release, candidate, copy_world, declare, fill
from small_bundles import _small_bundles, free_ports, make_bundle
from test_approval import trained

from ferryman.deployment.process.process_deployer import ProcessDeployer
from ferryman.ledger.ledger import Ledger
from ferryman.ledger.records import STAGE, State
from ferryman.settings import Settings

pytestmark = pytest.mark.filterwarnings("ignore::Warning:(?!ferryman).*")

__all__ = ["_small_bundles", "free_ports", "make_bundle", "trained"]

# The candidate answers unlike the champion by construction: a shift is within these limits.
ROLLOUT = """\
rollout:
  strategy: canary
  stages:
    - {weight: 0.3, hold: 2s, patience: PATIENCE}
    - {weight: 0.6, hold: 2s, patience: PATIENCE}
  limits: {min_requests: 40, shift: 0.99, errors: 0.3, latency: 20.0}
"""


@pytest.fixture(scope="module")
def template(tmp_path_factory, make_bundle, free_ports):
    """An installation whose first version serves, and whose next ones are canaries first."""
    root, ports = tmp_path_factory.mktemp("exposures"), free_ports(2)
    settings = Settings(
        home=root / "home", zoo=root / "zoo", serving_port=ports[0], serving_admin_port=ports[1]
    )
    fill(settings, make_bundle)
    deployer = ProcessDeployer(settings)
    deployer.start()
    try:
        Release(settings, "first", candidate(settings, 1, make_bundle)).run_all()
    finally:
        deployer.stop()
    return settings


@pytest.fixture(scope="module")
def api(tmp_path_factory, airflow_api):
    """Airflow's API, and the header of its user."""
    with airflow_api(tmp_path_factory.mktemp("auth"), {"rita": "op"}) as client:
        body = {"username": "rita", "password": "rita-password"}
        token = client.post("/auth/token", json=body).json()["access_token"]
        yield client, {"Authorization": f"Bearer {token}"}


@pytest.fixture
def world(template, tmp_path, free_ports, settings_from):
    """A copy of the installation with a server of its own."""
    settings = copy_world(template, tmp_path / "home", free_ports(2))
    places = {"serving_port": settings.serving_port, "home": settings.home, "zoo": settings.zoo}
    settings_from(serving_admin_port=settings.serving_admin_port, actor="airflow", **places)
    deployer = ProcessDeployer(settings)
    deployer.start()
    yield settings
    deployer.stop()


@pytest.fixture
def begin(world, api, trained, load_dags):
    """Start a release of version 2 with a patience in seconds, and go on to its end."""

    def run(patience):
        from airflow.dag_processing.dagbag import sync_bag_to_db

        file = declare(world.zoo).file
        plain = file.read_text().partition("rollout:")[0]
        file.write_text(plain + ROLLOUT.replace("PATIENCE", f"{patience}s"))
        bag = load_dags()
        sync_bag_to_db(bag, "dags-folder", None)
        return OneProcessRun(*api[:1], bag.dags["tiny.release"], api[1], {"run": trained(2)})

    return run


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


def _head(settings):
    head = Ledger(settings.ledger_url).head("tiny")
    return head.epoch, head.version


def test_a_canary_passes_stage_by_stage_and_waits_in_the_triggerer(begin, requests, world, capfd):
    states = begin(patience=60).advance()
    log = "".join(capfd.readouterr())
    assert set(states.values()) == {"success"}, log[-3000:]
    assert list(states) and {"canary_30pct", "canary_60pct"} <= set(states)
    assert "waiting in the triggerer" in log
    assert _head(world) == (2, 2)
    ledger = Ledger(world.ledger_url)
    passed = [note.evidence["weight"] for note in ledger.notes("tiny", STAGE)]
    assert passed == [0.3, 0.6]
    assert ledger.routing("tiny", datetime.now(UTC)).weight == 0
    assert {status for status, _ in requests} == {200}
    assert {variant for _, variant in requests} == {"champion", "canary"}
    assert ledger.verify() == []


def test_a_canary_without_requests_is_withdrawn_and_nothing_is_promoted(begin, world, capfd):
    run = begin(patience=1)
    states = run.advance()
    assert states["canary_30pct"] == "failed"
    assert {states[name] for name in ("canary_60pct", "commit", "reconcile")} == {"upstream_failed"}
    assert "expose failed (exit 4)" in "".join(capfd.readouterr())
    assert _head(world) == (1, 1)
    ledger = Ledger(world.ledger_url)
    assert ledger.history("tiny")[-1].state is State.ABORTED
    assert ledger.routing("tiny", datetime.now(UTC)).weight == 0
