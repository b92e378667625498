"""The life of `flights` in a running stack: what `make run` reaches, and what holds afterwards.

The tests share one stack and run in the order of the file.
"""

import json
import os
import re
import shlex
import signal
import time
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from ferryman.ledger.ledger import Ledger
from ferryman.steps.pipelines import PIPELINES

pytestmark = pytest.mark.timeout(1500)

DAYS = [datetime(2013, 2, day, tzinfo=UTC) for day in (1, 2, 3)]


def _head(stack):
    return Ledger(stack.settings.ledger_url).head("flights")


def _result(stack, pipeline, run_id, step):
    return stack.api.result(f"flights.{pipeline}", run_id, step)


def _wait_until(condition, timeout=120.0):
    deadline = time.monotonic() + timeout
    while not (found := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.5)
    return found


def _quiet(stack):
    """Wait until nothing runs: monitoring may have asked for a retrain, which goes on by itself."""

    def open_runs():
        runs = [run for name in PIPELINES for run in stack.api.runs(f"flights.{name}")]
        return [run for run in runs if run["state"] in ("queued", "running")]

    for _ in range(3):
        _wait_until(lambda: not open_runs(), timeout=240)
        time.sleep(1)


def test_make_run_reaches_a_served_prediction_of_the_ledgers_champion(stack):
    text = stack.output.read_text()
    assert "flights is served" in text, text
    assert re.search(r"gate +passed: ", text), text
    assert re.search(r"prediction +0\.\d{4}, answered by version \d+, epoch \d+", text), text
    assert stack.stack.airflow_url in text
    command = next(line for line in text.splitlines() if line.startswith("curl "))
    arguments = shlex.split(command)
    body = arguments[arguments.index("-d") + 1]
    _quiet(stack)
    answer = httpx.post(arguments[2], content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 200
    head = _head(stack)
    assert answer.headers["x-model-version"] == str(head.version)
    assert answer.headers["x-model-epoch"] == str(head.epoch)
    [probability] = answer.json()["predictions"]
    assert 0 < probability < 1


def test_secrets_are_private_and_nothing_listens_beyond_this_machine(stack):
    for name in ("airflow.cfg", "passwords.json", "secrets.json"):
        assert (stack.stack.home / name).stat().st_mode & 0o077 == 0, name
    assert httpx.get(f"{stack.stack.airflow_url}/api/v2/dags").status_code == 401
    for process in stack.processes():
        for member in [process, *process.children(recursive=True)]:
            for connection in member.net_connections(kind="tcp"):
                if connection.status == "LISTEN":
                    assert connection.laddr.ip == "127.0.0.1", (member.name(), connection)


def test_scheduled_runs_happen_by_themselves(stack):
    for pipeline in ("ingest", "monitoring"):
        runs = stack.api.runs(f"flights.{pipeline}", run_type="scheduled")
        assert [run["state"] for run in runs] == ["success"], pipeline
        end = datetime.fromisoformat(runs[0]["data_interval_end"])
        start = datetime.fromisoformat(runs[0]["data_interval_start"])
        assert end - start == timedelta(days=1)
        assert end.date() == datetime.now(UTC).date()
    sent = _result(stack, "monitoring", runs[0]["dag_run_id"], "score")["outputs"]["sent"]
    assert sent > 300


def test_a_rest_trigger_retrains_and_an_older_candidate_never_replaces_the_champion(stack):
    before = _head(stack)
    trained = [run["dag_run_id"] for run in stack.api.runs("flights.training", state="success")]
    known = {_result(stack, "training", run, "register")["outputs"]["version"] for run in trained}
    cutoff = datetime.fromisoformat(before.order_key.cutoff) - timedelta(days=2)
    stack.api.trigger("flights.training", "by-rest", {"cutoff": f"{cutoff:%Y-%m-%d}"})
    stack.api.wait("flights.training", "by-rest", timeout=120)
    assert _result(stack, "training", "by-rest", "register")["outputs"]["version"] not in known
    found = _result(stack, "training", "by-rest", "train")["outputs"]["cutoff"]
    assert datetime.fromisoformat(found) == cutoff
    begun = stack.api.run("flights.training", "by-rest")["start_date"]
    release = _wait_until(
        lambda: [run for run in stack.api.runs("flights.release") if run["run_after"] >= begun]
    )[0]
    assert release["run_type"] == "asset_triggered"
    stack.api.wait("flights.release", release["dag_run_id"], timeout=60)
    tasks = stack.api.tasks("flights.release", release["dag_run_id"])
    assert {task["task_id"]: task["state"] for task in tasks} == dict.fromkeys(
        PIPELINES["release"].steps, "skipped"
    )
    assert _head(stack) == before


def test_the_same_training_again_makes_no_second_version(stack):
    head = _head(stack)
    stack.api.trigger("flights.training", "again", {"cutoff": head.order_key.cutoff})
    stack.api.wait("flights.training", "again", timeout=120)
    pools = {task["task_id"]: task["pool"] for task in stack.api.tasks("flights.training", "again")}
    assert pools["train"] == pools["report"] == "ferryman_training" != pools["evaluate"]
    assert _result(stack, "training", "again", "register")["outputs"]["version"] == head.version
    _quiet(stack)
    assert _head(stack) == head


def _backfill(stack, behaviour):
    assert stack.begin_backfill("flights.ingest", DAYS, 2, behaviour) == ""
    _wait_until(lambda: not stack.open_backfills("flights.ingest"), timeout=180)
    runs = stack.api.runs("flights.ingest", run_type="backfill")
    assert {run["state"] for run in runs} == {"success"}
    results = [_result(stack, "ingest", run["dag_run_id"], "ingest") for run in runs]
    return [one for result in results for one in result["outputs"]["snapshots"]]


def _stored(stack):
    return {
        path.relative_to(stack.settings.data_root): path.stat().st_mtime_ns
        for path in stack.settings.data_root.rglob("*.parquet")
    }


def test_a_backfill_makes_a_snapshot_a_day_and_a_second_one_none(stack):
    first = _backfill(stack, "none")
    days = {one["window"]["start"][:10] for one in first}
    assert days == {f"2013-02-0{day}" for day in range(1, 4)}
    assert len(first) == 3
    assert all(one["new"] for one in first)
    stored = _stored(stack)
    assert stored
    second = _backfill(stack, "completed")
    assert {one["id"] for one in second} == {one["id"] for one in first}
    assert _stored(stack) == stored


def test_lineage_is_written_down_to_what_is_served(stack):
    lines = (stack.settings.home / "lineage" / "events.jsonl").read_text().splitlines()
    events = [json.loads(line) for line in lines]
    made_of = {
        output["name"]: {source["name"] for source in event["inputs"]}
        for event in events
        if event["eventType"] == "COMPLETE"
        for output in event["outputs"]
    }
    found, open_ends = set(), {"flights/served/1"}
    while open_ends:
        found |= open_ends
        open_ends = set().union(*(made_of.get(name, set()) for name in open_ends)) - found
    kinds = {name.split("/")[1] for name in found}
    assert kinds == {
        *("served", "versions", "bundles", "runs", "datasets"),
        *("published", "snapshots", "sources"),
    }


def test_maintenance_reports_and_removes_nothing(stack):
    stack.api.trigger("flights.maintenance", "look", {})
    stack.api.wait("flights.maintenance", "look", timeout=60)
    result = _result(stack, "maintenance", "look", "maintenance")
    assert "nothing was removed" in result["text"]


def test_the_models_page_wants_a_token(stack):
    page = f"http://127.0.0.1:{stack.stack.airflow_port}/ferryman"
    assert httpx.get(f"{page}/models/flights").status_code == 401
    assert httpx.get(f"{page}/").status_code == 401


def test_an_unknown_conf_key_fails_with_the_nearest_name(stack):
    stack.api.trigger("flights.training", "typo", {"cutof": "2013-03-01"})
    run = _wait_until(
        lambda: next((r for r in stack.api.runs("flights.training", state="failed")), None)
    )
    assert run["dag_run_id"] == "typo"
    [task] = [t for t in stack.api.tasks("flights.training", "typo") if t["task_id"] == "train"]
    log = " ".join(stack.api.log("flights.training", "typo", "train", task["try_number"]))
    assert "exit 2" in log
    assert "did you mean 'cutoff'?" in log
    assert "Remedy: " in log


def test_an_ended_server_comes_back_with_the_same_version(stack):
    head = _head(stack)
    entries = json.loads(stack.stack.state_file.read_bytes())["processes"]
    pid = next(entry["pid"] for entry in entries if entry["name"] == "serving")
    os.kill(pid, signal.SIGKILL)

    def served():
        try:
            answer = httpx.get(f"{stack.settings.serving_url}/v2/health/ready", timeout=2)
        except httpx.TransportError:
            return False
        return answer.status_code == 200

    time.sleep(0.5)
    _wait_until(served, timeout=30)
    row = stack.output.read_text().partition(" -d '")[2].partition("'\n")[0]
    url = f"{stack.settings.serving_url}/v1/models/flights:predict"
    answer = httpx.post(url, content=row, headers={"content-type": "application/json"})
    assert answer.headers["x-model-version"] == str(head.version)


def test_what_a_killed_launcher_leaves_is_ended_by_down(stack):
    left = stack.processes()
    assert len(left) == 6
    members = [child for process in left for child in process.children(recursive=True)]
    os.killpg(stack.process.pid, signal.SIGKILL)
    stack.process.wait(timeout=10)
    assert all(process.is_running() for process in left)
    done = stack.command("down")
    assert done.returncode == 0, done.stderr
    assert "left behind" in done.stdout
    assert not [p for p in (*left, *members) if p.is_running() and p.status() != "zombie"]
    assert stack.command("down").stdout.strip() == "nothing is running"
