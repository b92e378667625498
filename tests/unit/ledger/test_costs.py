"""Costs stand beside the chain: rows are added, read by model and time, and never changed."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DatabaseError

from ferryman.errors import SpecError
from ferryman.ledger.costs import CostTable, StepCost, summed_costs, versions_of_runs
from ferryman.ledger.ledger import Ledger

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
FIT = StepCost("tiny", "r1", "training", "train", "done", START, 2.0, 3.5, 1 << 33)


def test_a_ledger_of_an_earlier_release_gets_the_table(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    Ledger(url)
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE costs"))
    CostTable(url).add(FIT)
    assert CostTable(url).read("tiny") == [FIT]
    assert Ledger(url).verify() == []
    for change in ("UPDATE costs SET cpu_seconds = 0", "DELETE FROM costs"):
        with pytest.raises(DatabaseError, match="append-only"), engine.begin() as connection:
            connection.execute(text(change))
    engine.dispose()


def test_costs_are_read_by_model_and_time(tmp_path: Path) -> None:
    table = CostTable(f"sqlite:///{tmp_path / 'ledger.db'}")
    later = replace(FIT, step="report", started=START + timedelta(microseconds=1), version=4)
    for cost in (later, FIT, replace(FIT, model="other")):
        table.add(cost)
    assert table.read("tiny") == [FIT, later]
    assert table.read("tiny", later.started) == [later]
    assert table.read("nobody") == []
    assert versions_of_runs(table.read("tiny")) == {"r1": 4}
    failed = replace(FIT, run_id="r0", outcome="exit 3", started=START - timedelta(days=1))
    found = {
        by: {name: len(group) for name, group in summed_costs([failed, FIT, later], by).items()}
        for by in ("step", "run", "version")
    }
    assert found == {
        "step": {"training/train": 2, "training/report": 1},
        "run": {"r0": 1, "r1": 2},
        "version": {"no version": 1, "4": 2},
    }
    with pytest.raises(SpecError, match="time zone"):
        table.read("tiny", START.replace(tzinfo=None))
