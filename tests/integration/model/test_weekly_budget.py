"""A training that would exceed the model's CPU hours of a week does not begin."""

from datetime import UTC, datetime, timedelta

import pytest
from training_line import Line

from ferryman.errors import DependencyUnavailable, PolicyRefused
from ferryman.ledger.costs import CostTable, StepCost
from ferryman.spec.loader import load_model
from ferryman.steps.journey import Journey

BUDGET = "runtime:\n  cpu: 1\n  weekly_budget: {cpu_hours: 2}\n"
HOUR = 3600.0


def spend(line: Line, run: str, hours: float, days_ago: float, step: str = "train") -> None:
    started = datetime.now(UTC) - timedelta(days=days_ago)
    cost = StepCost("rain", run, "training", step, "done", started, 1.0, hours * HOUR, 1)
    CostTable(line.settings.ledger_url).add(cost)


def budgeted(line: Line) -> Journey:
    text = line.model.file.read_text()
    kept = text.partition("\nruntime:")[0]
    line.model.file.write_text(f"{kept}\n{BUDGET}")
    return Journey(line.settings, load_model(line.model.folder))


def test_a_training_beyond_the_week_is_refused_and_an_older_one_is_forgotten(line: Line):
    journey = budgeted(line)
    spend(line, "old", 50.0, days_ago=8)
    spend(line, "new", 0.9, days_ago=1)
    spend(line, "new", 0.2, days_ago=1, step="evaluate")
    with pytest.raises(PolicyRefused, match=r"have used 1.1 CPU hours.* take about 1.1") as found:
        next(iter(journey.run("train", run_id="another")))
    assert int(found.value.exit_code) == 9
    # What a run has cost itself is no reason to leave it unfinished; nor is a week long past.
    spend(line, "cheap", 0.1, days_ago=0.5)
    [trained] = journey.run("train", run_id="another")
    assert trained.verdict == "done"
    kept = CostTable(line.settings.ledger_url).read("rain")
    told = [(cost.outcome, cost.step) for cost in kept if cost.run_id == "another"]
    assert told == [("exit 9", "train"), ("done", "train")]
    assert kept[-1].cpu_seconds > 0 and kept[-1].peak_memory > 50 << 20


def test_where_nobody_knows_what_was_spent_no_training_begins(line: Line):
    journey = budgeted(line)
    (line.settings.home / "file").touch()
    away = f"sqlite:///{line.settings.home}/file/ledger.db"
    journey.settings = line.settings.model_copy(update={"ledger_url": away})
    with pytest.raises(DependencyUnavailable) as found:
        next(iter(journey.run("train", run_id="away")))
    assert int(found.value.exit_code) == 6
