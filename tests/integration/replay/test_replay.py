"""Ten days are lived through the real steps, servers and registries, under three policies."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest
from rain_world import FIRST, LAST, World

from ferryman.catalog import find_model
from ferryman.ledger.ledger import Ledger
from ferryman.ledger.records import State
from ferryman.monitoring.decisions import Decisions
from ferryman.replay import run_replay
from ferryman.replay.day_book import DayBook
from ferryman.replay.plan import POLICIES, Policy, ReplayPlan, make_plan
from ferryman.runtime.files import read_json
from ferryman.serving.log.prediction_log import read_predictions
from ferryman.settings import Settings
from ferryman.spec.windows import DAY

ROWS_A_DAY = 288
UNLIKE = ("request_id", "logged_at", "latency")  # of the same prediction in two replays


def plan_of(settings: Settings) -> ReplayPlan:
    return make_plan(find_model(settings.zoo, "rain"), settings, FIRST, LAST)


def figures(world_or_report) -> dict[str, tuple[object, ...]]:
    """All that must not depend on how often a replay was interrupted."""
    return {
        line.policy: (
            line.trainings,
            line.releases,
            line.figures["roc_auc"],
            line.figures["log_loss"],
            line.labels,
        )
        for line in world_or_report.policies
    }


def test_every_policy_lived_every_day(world: World) -> None:
    assert world.shown == {"ingest": (15, 15)} | dict.fromkeys(POLICIES, (10, 10))
    lines = {line.policy: line for line in world.report.policies}
    assert (lines["never"].trainings, lines["never"].releases) == (1, 1)
    assert lines["nightly"].trainings == 11
    assert 1 < lines["decided"].trainings <= 4
    labels = {line.labels for line in world.report.policies}
    assert len(labels) == 1
    # nine days have labels by the end; one in fifty was never measured
    assert 0.95 * 9 * ROWS_A_DAY < labels.pop() < 9 * ROWS_A_DAY


def test_retraining_pays_when_the_world_turns(world: World) -> None:
    loss = {line.policy: line.figures["log_loss"] for line in world.report.policies}
    assert None not in loss.values()
    assert loss["nightly"] < loss["never"] - 0.1
    assert loss["decided"] < loss["never"] - 0.1


def test_the_decision_names_the_fall_in_quality(world: World) -> None:
    settings = plan_of(world.settings).policy_settings("decided")
    decisions = Decisions(settings.monitoring_root).read("rain")
    assert len(decisions) == 10
    asked = [decision for decision in decisions if decision.retrain]
    assert "quality" in asked[0].causes
    book = {day.day: day for day in DayBook(settings.home).read()}
    for decision in asked:
        day = book[decision.window_start[:10]]
        assert day.trained
        assert day.reason == decision.reason


def test_a_retrain_that_is_not_better_changes_nothing(world: World) -> None:
    refused = 0
    for policy in POLICIES:
        settings = plan_of(world.settings).policy_settings(policy)
        book = DayBook(settings.home).read()
        for before, after in pairwise(book):
            if after.trained and not after.released:
                assert after.version == before.version
                assert "better" in after.verdict or "undecided" in after.verdict
                refused += 1
        releases = sum(day.released for day in book)
        head = Ledger(settings.ledger_url).head("rain")
        assert head is not None and head.epoch == releases
    assert refused > 0


@pytest.mark.parametrize("policy", POLICIES)
def test_what_trainings_and_probes_cost_is_told(world: World, policy: Policy) -> None:
    [line] = [line for line in world.report.policies if line.policy == policy]
    assert line.costs.training_cpu_seconds > 0
    assert (line.costs.probes > 0) is (policy == "decided")
    assert (line.costs.probe_cpu_seconds > 0) is (policy == "decided")
    assert line.trainings + line.costs.spared >= line.costs.probes


@pytest.mark.parametrize("policy", POLICIES)
def test_no_prediction_knew_its_future(world: World, policy: Policy) -> None:
    settings = plan_of(world.settings).policy_settings(policy)
    cutoffs = {
        op.candidate.version: datetime.fromisoformat(op.order_key.cutoff)
        for op in Ledger(settings.ledger_url).history("rain")
        if op.state is State.COMMITTED
    }
    logged = read_predictions(settings.predictions_root, "rain", FIRST, LAST + DAY)
    assert logged.num_rows == 10 * ROWS_A_DAY
    for row in logged.select(["version", "event_time"]).to_pylist():
        morning = row["event_time"].replace(hour=0, minute=0, second=0, microsecond=0)
        assert cutoffs[row["version"]] <= morning
    assert len(set(logged["version"].to_pylist())) == len(
        [cutoff for cutoff in cutoffs.values() if cutoff <= LAST]
    )


@pytest.mark.parametrize("policy", POLICIES)
def test_what_served_is_what_the_ledger_says(world: World, policy: Policy) -> None:
    settings = plan_of(world.settings).policy_settings(policy)
    ledger = Ledger(settings.ledger_url)
    head = ledger.head("rain")
    last = DayBook(settings.home).read()[-1]
    assert head is not None
    assert head.version == last.version
    assert ledger.verify() == []
    released = [day for day in DayBook(settings.home).read() if day.released]
    assert head.epoch == len(released)


def test_nothing_is_left_running_and_real_life_is_untouched(world: World) -> None:
    running = [" ".join(process.cmdline()) for process in _processes_of(world.settings.home)]
    assert running == []
    assert [entry.name for entry in world.settings.home.iterdir()] == ["replay"]
    assert world.report.picture.read_bytes()[:4] == b"\x89PNG"
    page = world.report.page.read_text()
    assert all(policy in page for policy in POLICIES)


def test_living_it_again_changes_nothing(world: World) -> None:
    days = sorted(world.report.folder.glob("*/days/*.json"))
    before = {file: file.stat().st_mtime_ns for file in days}
    assert len(before) == 3 * 11
    report = run_replay(world.settings, "rain", FIRST, LAST, lambda *_: None)
    assert figures(report) == figures(world.report)
    assert {file: file.stat().st_mtime_ns for file in days} == before


def test_a_killed_replay_ends_as_one_that_was_not(world: World, settings_for) -> None:
    """It lives the first half of the days: each is as it was in the one that nobody killed."""
    settings = settings_for("killed")
    environment = {
        **os.environ,
        "FERRYMAN_HOME": str(settings.home),
        "FERRYMAN_ZOO": str(settings.zoo),
        "FERRYMAN_SOURCE_ROOT": str(settings.source_root),
        "FERRYMAN_CODE_VERSION": settings.code_version,
    }
    last = FIRST + 4 * DAY
    plan = make_plan(find_model(settings.zoo, "rain"), settings, FIRST, last)
    command = [sys.executable, "-c", "from ferryman.cli.main import main; main()", "replay"]
    days = ["--model", "rain", "--from", f"{FIRST:%Y-%m-%d}", "--to", f"{last:%Y-%m-%d}"]
    with subprocess.Popen(
        [*command, *days], env=environment, stdout=subprocess.DEVNULL, start_new_session=True
    ) as process:
        _wait_for_days(plan, 2)
        process.send_signal(signal.SIGKILL)
    report = run_replay(settings, "rain", FIRST, last, lambda *_: None)
    trained = {line.policy: line.trainings for line in report.policies}
    assert trained["nightly"] == 6 and trained["decided"] > 1
    for policy in POLICIES:
        assert lived(plan, policy, plan) == lived(plan_of(world.settings), policy, plan)
    assert list(_processes_of(settings.home)) == []


def lived(plan: ReplayPlan, policy: Policy, until: ReplayPlan) -> tuple[object, ...]:
    """Days, predictions and joined labels of a policy, as far as another plan reaches."""
    settings, count = plan.policy_settings(policy), len(until.days)
    book = [replace(day, seconds=0.0) for day in DayBook(settings.home).read()[: 1 + count]]
    predictions = read_predictions(settings.predictions_root, "rain", FIRST, until.last + DAY)
    files = sorted((settings.home / "monitoring" / "rain" / "joined").glob("*.parquet"))[:count]
    order = [("entity_key", "ascending"), ("event_time", "ascending")]
    asked, *labels = (
        table.select([name for name in table.column_names if name not in UNLIKE]).sort_by(order)
        for table in (predictions, *map(pq.read_table, files))
    )
    return book, asked.to_pylist(), [table.to_pylist() for table in labels]


def _wait_for_days(plan: ReplayPlan, count: int) -> None:
    book = DayBook(plan.policy_home("nightly"))
    give_up = time.monotonic() + 120
    while book.done(plan.days) < count:
        assert time.monotonic() < give_up, "the replay does not get on"
        time.sleep(0.05)


def _processes_of(home: Path) -> list[psutil.Process]:
    """Serving processes that a replay below this home left running."""
    found = []
    for file in home.glob("replay/*/*/serving/process.json"):
        pid = int(read_json(file)["pid"])
        if psutil.pid_exists(pid):
            found.append(psutil.Process(pid))
    return found


def test_joined_windows_hold_each_event_once(world: World) -> None:
    folder = plan_of(world.settings).policy_home("nightly") / "monitoring" / "rain" / "joined"
    files = sorted(folder.glob("*.parquet"))
    assert len(files) == 10
    keys = [key for file in files for key in pq.read_table(file)["entity_key"].to_pylist()]
    assert len(keys) == len(set(keys)) == 9 * ROWS_A_DAY
