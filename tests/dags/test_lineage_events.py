"""Lineage: a real run's events reach the file through the provider and name the data versions."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

_PROGRAM = """
import pathlib, sys
from airflow.utils.db import initdb
initdb()
sys.path.insert(0, "tests/dags")
from test_lineage_events import flights_ingest
file = pathlib.Path(sys.argv[1])
print("first", flights_ingest().test(run_conf={"window_start": "2013-02-01"}).state)
file.rename(file.with_suffix(".kept"))
file.mkdir()
print("second", flights_ingest().test(run_conf={"window_start": "2013-02-02"}).state)
"""


def flights_ingest():
    from airflow.dag_processing.dagbag import DagBag

    return DagBag(str(ROOT / "dags" / "ingest.py")).dags["flights.ingest"]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Two runs of flights.ingest with the stack's own lineage settings; the second cannot write."""
    from ferryman.settings import Settings
    from ferryman_airflow.stack.airflow_config import lineage_section

    home = tmp_path_factory.mktemp("home")
    section = lineage_section(Settings(home=home))
    file = Path(json.loads(section["transport"])["log_file_path"])
    assert file.parent.parent == home
    settings = {f"AIRFLOW__OPENLINEAGE__{key.upper()}": value for key, value in section.items()}
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, str(file)],
        env={
            **os.environ,
            **settings,
            "FERRYMAN_HOME": str(home),
            "AIRFLOW_HOME": str(home / "airflow"),
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home / 'airflow.db'}",
        },
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    lines = file.with_suffix(".kept").read_text().splitlines()
    return home, done.stdout + done.stderr, [json.loads(line) for line in lines]


def _names(event, side):
    return [f"{one['namespace']}:{one['name']}" for one in event.get(side, [])]


def test_the_events_name_sources_snapshots_and_what_was_published(world):
    from ferryman.data.versions.snapshots import SnapshotStore
    from ferryman.runtime.local_object_store import LocalObjectStore

    home, _, events = world
    store = SnapshotStore(LocalObjectStore(home / "data"))
    snapshot = store.published("flights")[0].id
    done = {one["job"]["name"]: one for one in events if one["eventType"] == "COMPLETE"}
    ingest, validate = done["flights.ingest.ingest"], done["flights.ingest.validate"]
    assert "ferryman:flights/sources/flights" in _names(ingest, "inputs")
    assert _names(ingest, "outputs") == [f"ferryman:flights/snapshots/{snapshot}"]
    assert _names(validate, "inputs") == [f"ferryman:flights/snapshots/{snapshot}"]
    assert _names(validate, "outputs") == [f"ferryman:flights/published/{snapshot}"]
    assert {one["job"]["namespace"] for one in events} == {"ferryman"}
    started = [one for one in events if one["eventType"] == "START"]
    assert any("ferryman:flights/sources/planes" in _names(one, "inputs") for one in started)


def test_a_file_that_cannot_be_written_fails_no_task(world):
    _, output, events = world
    assert "first" in output
    assert output.count("success") >= 2
    assert "second success" in output
    # Of its tasks: Airflow tells of a run's own end whenever it comes to it.
    tasks = [one for one in events if one["job"]["name"].startswith("flights.ingest.")]
    assert len([one for one in tasks if one["eventType"] == "COMPLETE"]) == 2


def _request(step, results=(), **params):
    from ferryman.runtime.messages import StepRequest

    return StepRequest(
        model="flights",
        step=step,
        run_id="r",
        run_uri="/runs/r",
        spec_digest="d",
        params=params,
        results={one.step: one for one in results},
    )


def _result(step, **outputs):
    from ferryman.runtime.messages import StepResult

    return StepResult(model="flights", step=step, request_digest="d", outputs=outputs)


def test_a_release_can_be_followed_from_run_to_served_version():
    from ferryman_airflow.lineage_events import lineage_of

    def told(request, made):
        found = lineage_of(request, (), made)
        sides = ([one.name for one in side] for side in (found.inputs, found.outputs))
        return tuple(sides)

    train = _result("train", mlflow_run_id="r1", train_dataset="a", eval_dataset="b")
    package = _result("package", digest="f00")
    register = _result("register", version=3)
    assert told(_request("package", [train]), package) == (
        ["flights/runs/r1"],
        ["flights/bundles/f00"],
    )
    assert told(_request("register", [train, package]), register) == (
        ["flights/runs/r1", "flights/bundles/f00"],
        ["flights/versions/3"],
    )
    assert told(_request("evaluate", [train]), None)[0] == ["flights/datasets/b", "flights/runs/r1"]
    assert told(_request("gate", candidate={"version": 3}), None)[0] == ["flights/versions/3"]
    commit = _result("commit", version=3, epoch=7)
    assert told(_request("commit"), commit) == (["flights/versions/3"], ["flights/served/7"])
    assert told(_request("monitor"), _result("monitor")) == ([], [])
