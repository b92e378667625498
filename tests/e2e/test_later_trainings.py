"""Trainings of `rain` in the running stack that nobody needs, or that came late, beside real ones.

They share one stack with the releases, which run before them, and with `flights`, which runs after.
"""

import time

import pytest
from rain_releases import (
    CUTOFF,
    DAYS,
    FIRST_DAY,
    ZOO,
    RainReleases,
    Users,
    declare,
    process_of,
    until,
)

from ferryman.ledger.ledger import Ledger
from ferryman.ledger.records import State
from ferryman.runtime.files import read_json
from ferryman.runtime.run_store import run_folder
from ferryman.spec.windows import DAY, format_time

pytestmark = [
    pytest.mark.timeout(1500),
    pytest.mark.filterwarnings("ignore::Warning:(?!ferryman).*"),
]

EVENTS, LATER = 150, 50
OLD_DAYS = [FIRST_DAY + number * DAY for number in range(DAYS - 7, DAYS - 2)]


@pytest.fixture(scope="module")
def releases(stack, rain_hours):
    """`rain` with its days published; whoever is trained may be released without being asked."""
    found = RainReleases(stack, rain_hours(1, seed=9), ZOO / "rain")
    declare(found.settings.zoo, ZOO / "rain", rollout={"strategy": "direct"})
    found.ingest()
    # A run takes the tasks that its DAG has when it begins: those of before would ask a person.
    until(lambda: "approve" not in _tasks_of(stack.api, "rain.release"), timeout=180)
    stack.api.unpause("rain.release")
    return found


def test_two_hundred_drift_events_make_one_training(releases, stack, record_property):
    api = stack.api
    api.unpause("rain.training")
    found = api.call("GET", "/api/v2/assets", params={"name_pattern": "rain.retrain"}).json()
    [asset] = [one["id"] for one in found["assets"] if one["name"] == "rain.retrain"]
    versions, began = releases.versions(), time.monotonic()
    _post(api, asset, EVENTS)
    until(lambda: _open_runs(api, "rain.training"), timeout=120)
    _post(api, asset, LATER)  # while it is trained: Airflow starts another run for them
    record_property("seconds for 200 events", time.monotonic() - began)
    until(lambda: len(api.runs("rain.training")) > 1, timeout=240)
    until(lambda: not _open_runs(api, "rain.training"), timeout=300)
    runs = api.runs("rain.training")
    kept = api.call("GET", "/api/v2/assets/events", params={"asset_id": asset}).json()
    # None is lost; one whose answer was a locked SQLite may have been sent, and kept, twice.
    assert EVENTS + LATER <= kept["total_entries"] < EVENTS + LATER + 20
    assert {(run["run_type"], run["state"]) for run in runs} == {("asset_triggered", "success")}
    *later, first = runs  # newest first
    assert set(_states(api, "rain.training", first).values()) == {"success"}
    for run in later:
        assert set(_states(api, "rain.training", run).values()) == {"skipped"}
        root, run_id = releases.settings.runs_root, run["dag_run_id"]
        told = read_json(run_folder(root, "rain", "training", run_id) / "train" / "error.json")
        assert told["exit_code"] == 5
        assert told["text"].startswith(f"already trained on data up to {CUTOFF} (version ")
    [version] = releases.versions() - versions
    record_property("runs of 200 events", len(runs))
    record_property("seconds of the run that trained", _seconds(first))
    record_property("seconds of the others", [_seconds(run) for run in later])
    api.call("PATCH", "/api/v2/dags/rain.training", json={"is_paused": True})
    until(
        lambda: releases.ledger.head("rain") and releases.head()[1] == version,
        timeout=120,
        told=lambda: _all_states(api, "rain.release"),
    )
    until(lambda: not _open_runs(api, "rain.release"), timeout=60)


def test_five_old_days_are_trained_beside_the_nightly_run(releases, stack, record_property):
    api, dag = stack.api, "rain.training"
    refused = stack.begin_backfill(dag, OLD_DAYS, max_active_runs=3)
    assert refused == f"{dag} has a non-periodic schedule that does not support backfills"
    # More trees, so that the night has something to train; the direct rollout asks nobody.
    changed = {"train__params": {"max_iter": 22, "learning_rate": 0.2}}
    direct = {"rollout": {"strategy": "direct"}, "schedule__training": "0 0 * * *"}
    declare(releases.settings.zoo, ZOO / "rain", **changed, **direct)
    until(
        lambda: "0 0" in api.call("GET", f"/api/v2/dags/{dag}").json()["timetable_summary"],
        timeout=180,
    )
    began, released = time.monotonic(), {run["dag_run_id"] for run in api.runs("rain.release")}
    ledger = Ledger(releases.settings.ledger_url)
    seq = max(row.seq for row in ledger.history("rain"))
    with Users(releases.settings, releases.rows, pause=0.1) as users:
        assert stack.begin_backfill(dag, OLD_DAYS, max_active_runs=3) == ""
        api.unpause(dag)  # and so begins the run of last night
        [night] = until(lambda: api.runs(dag, run_type="scheduled"), timeout=120)
        until(lambda: process_of(stack, dag, night["dag_run_id"], "train"), timeout=240).kill()
        until(lambda: len(api.runs(dag, run_type="scheduled", state="success")) == 1, timeout=300)
        until(lambda: not _open_runs(api, dag), timeout=300)
        until(lambda: not _open_runs(api, "rain.release"), timeout=120)
    record_property("seconds of the backfill beside the night", time.monotonic() - began)
    record_property("answers", len(users.answers))
    old = api.runs(dag, run_type="backfill")
    assert [run["state"] for run in old] == ["success"] * len(OLD_DAYS)
    seen = {api.result(dag, run["dag_run_id"], "train")["outputs"]["cutoff"] for run in old}
    assert seen == {format_time(day + DAY) for day in OLD_DAYS}
    [night] = api.runs(dag, run_type="scheduled")
    registered = api.result(dag, night["dag_run_id"], "register")["outputs"]
    version = registered["version"]
    [train] = [one for one in api.tasks(dag, night["dag_run_id"]) if one["task_id"] == "train"]
    assert train["try_number"] == 2  # it was killed, and tried again
    assert [one.run_key for one in releases.registered()].count(registered["run_key"]) == 1
    epoch, champion = releases.head()
    assert (champion, releases.served()) == (version, (epoch, version))
    assert ledger.head("rain").order_key.cutoff == CUTOFF
    rows = [row for row in ledger.history("rain") if row.seq > seq]
    assert {row.candidate.version for row in rows if row.state is State.COMMITTED} == {version}
    new = [run for run in api.runs("rain.release") if run["dag_run_id"] not in released]
    until(lambda: not any(None in _states(api, "rain.release", run).values() for run in new))
    ends = [sorted(set(_states(api, "rain.release", run).values())) for run in new]
    assert sorted(ends) == [["skipped"]] * (len(new) - 1) + [["success"]]
    record_property("releases", ends)
    record_property("superseded", [row.state for row in rows].count(State.SUPERSEDED))
    assert users.failed == []
    assert ledger.verify() == []


def _post(api, asset, times):
    extra = {"reason": "drift: humidity", "cutoff": CUTOFF}
    for _ in range(times):
        api.call("POST", "/api/v2/assets/events", json={"asset_id": asset, "extra": extra})


def _tasks_of(api, dag):
    return {one["task_id"] for one in api.call("GET", f"/api/v2/dags/{dag}/tasks").json()["tasks"]}


def _all_states(api, dag):
    return [(run["dag_run_id"], run["state"], _states(api, dag, run)) for run in api.runs(dag)]


def _states(api, dag, run):
    return {one["task_id"]: one["state"] for one in api.tasks(dag, run["dag_run_id"])}


def _seconds(run):
    return run["duration"]


def _open_runs(api, dag):
    return [run for run in api.runs(dag) if run["state"] in ("queued", "running")]
