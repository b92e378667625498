"""The rollback DAG: two tasks, three params, and the person who asked."""

from types import SimpleNamespace

import pytest

# Airflow in one process loads its API server, whose own libraries warn of one another.
pytestmark = pytest.mark.filterwarnings("ignore::Warning:(?!ferryman).*")
REASON = "answers are wrong since noon"


@pytest.fixture
def rollback(settings_from, load_dags, tmp_path):
    from airflow.utils.db import initdb

    initdb()
    settings_from(home=tmp_path)
    return load_dags().dags["flights.rollback"]


def test_it_is_started_by_people_alone(rollback):
    assert [task.task_id for task in rollback.topological_sort()] == ["roll_back", "reconcile"]
    assert sorted(rollback.params) == ["epoch", "reason", "version"]
    assert rollback.timetable.can_be_scheduled is False
    assert rollback.max_active_runs == 1
    [champion] = rollback.get_task("reconcile").outlets
    assert champion.uri == "ferryman://flights/champion"


def test_what_cannot_be_done_is_said_with_its_remedy(rollback, tmp_path, capfd):
    run = rollback.test(run_conf={"reason": REASON, "version": 3, "epoch": 7})
    states = {task.task_id: str(task.state) for task in run.get_task_instances()}
    assert states == {"roll_back": "failed", "reconcile": "upstream_failed"}
    log = "".join(capfd.readouterr())
    assert "roll_back failed (exit 9): flights has no release yet" in log
    assert "Remedy: Release a version first." in log
    [folder] = (tmp_path / "runs" / "flights" / "rollback").iterdir()
    assert (folder / "roll_back" / "error.json").is_file()


def test_the_ledger_learns_who_asked(rollback):
    from ferryman_airflow.rollback_params import asked_by

    def context(person):
        return {"dag_run": SimpleNamespace(triggering_user_name=person)}

    assert asked_by(context("ada"), "flights") == {"actor": "ada"}
    assert asked_by(context(None), "flights") == {}
    assert rollback.get_task("roll_back").derive is asked_by
