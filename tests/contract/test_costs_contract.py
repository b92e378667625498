"""Costs are kept the same way by SQLite and PostgreSQL, and neither lets a row be changed."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DatabaseError

from ferryman.ledger.costs import CostTable, StepCost
from ferryman.ledger.ledger import Ledger

COST = StepCost(
    "tiny", "r1", "training", "train", "done", datetime(2026, 3, 1, tzinfo=UTC), 1.5, 2.5, 1 << 33
)


def test_costs_are_added_read_and_never_changed(ledger: Ledger) -> None:
    engine = ledger._engine
    url = engine.url.render_as_string(hide_password=False)
    table, later = CostTable(url), replace(COST, step="report", version=3)
    for cost in (COST, later):
        table.add(cost)
    assert CostTable(url).read("tiny") == [COST, later]
    for change in ("UPDATE costs SET seconds = 0", "DELETE FROM costs"):
        with pytest.raises(DatabaseError, match="append-only"), engine.begin() as connection:
            connection.execute(text(change))
