"""What is told of Airflow's task instances, and that their whole table is never read for it."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

pytestmark = pytest.mark.filterwarnings("ignore::Warning:(?!ferryman).*")


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Any]:
    """A database with Airflow's tables, empty."""
    import airflow.models
    import sqlalchemy
    from airflow.models.base import Base

    airflow.models.import_all_models()
    made = sqlalchemy.create_engine(f"sqlite:///{tmp_path / 'airflow.db'}")
    Base.metadata.create_all(made)
    yield made
    made.dispose()


def _row(number: int, state: str | None, days: float, seconds: float | None) -> dict[str, Any]:
    """A task instance whose try was made so many days ago."""
    made = datetime.now(UTC) - timedelta(days=days)
    return {
        "id": UUID(int=(int(made.timestamp() * 1000) << 80) + number),
        "dag_id": "tiny.training",
        "task_id": f"task-{number % 2}",
        "run_id": f"run-{number}",
        "state": state,
        "duration": seconds,
        "end_date": None if seconds is None else made + timedelta(seconds=seconds),
        "max_tries": 0,
        "pool": "default_pool",
        "pool_slots": 1,
        "queue": "default",
        "priority_weight": 1,
        "operator": "step",
        "executor_config": {},
    }


def _told(engine: Any) -> tuple[dict[str, dict[tuple[str, ...], float]], list[str]]:
    """Samples by family and labels, and how the database went about the queries."""
    from sqlalchemy import event
    from sqlalchemy.orm import Session

    from ferryman_airflow.ui.airflow_figures import _tasks

    asked: list[tuple[str, Any]] = []

    def keep(_: Any, __: Any, statement: str, values: Any, *___: Any) -> None:
        asked.append((statement, values))

    event.listen(engine, "before_cursor_execute", keep)
    with Session(engine) as session:
        families = list(_tasks(session))
        plans = [
            str(step[-1])
            for statement, values in list(asked)
            for step in session.connection().exec_driver_sql(
                f"EXPLAIN QUERY PLAN {statement}", values
            )
        ]
    found = {
        one.name: {tuple(s.labels.values())[1:]: s.value for s in one.samples} for one in families
    }
    return found, plans


def test_ended_tasks_of_a_day_and_all_that_wait_are_counted_by_indices(engine: Any) -> None:
    from airflow.models.taskinstance import TaskInstance

    rows = [
        *(_row(n, "success", 0.2, 2.0 + n % 2) for n in range(6)),
        *(_row(10 + n, "failed", 0.9, 4.0) for n in range(2)),
        *(_row(20 + n, "success", 1.1, 900.0) for n in range(50)),  # too long ago
        _row(80, "deferred", 30.0, None),
        _row(81, "running", 0.1, None),
        _row(82, None, 0.1, None),
    ]
    with engine.begin() as connection:
        connection.execute(TaskInstance.__table__.insert(), rows)
    found, plans = _told(engine)
    assert found["ferryman_airflow_task_instances"] == {
        ("success",): 6,
        ("failed",): 2,
        ("deferred",): 1,
        ("running",): 1,
    }
    # Of task-0: three of 2 s and one of 4 s; of task-1: three of 3 s and one of 4 s.
    assert found["ferryman_airflow_task_seconds"] == {("task-0",): 2.5, ("task-1",): 3.25}
    assert any("SEARCH task_instance" in one for one in plans)
    assert not [one for one in plans if "SCAN task_instance" in one]


def test_without_tasks_nothing_is_told(engine: Any) -> None:
    found, _ = _told(engine)
    assert found == {"ferryman_airflow_task_instances": {}, "ferryman_airflow_task_seconds": {}}


def test_ids_of_airflow_begin_with_the_moment_that_they_were_made() -> None:
    from airflow.models.taskinstance import uuid7

    from ferryman_airflow.ui.airflow_figures import _first_id

    before, own = datetime.now(UTC), uuid7()
    assert _first_id(before) <= own < _first_id(before + timedelta(seconds=5))
