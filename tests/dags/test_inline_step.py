"""A real DAG with real steps, run in this process: no scheduler, no server."""

from datetime import UTC, datetime, timedelta

import pytest

from ferryman.spec.windows import day_window

# Airflow in one process loads its API server, whose own libraries warn of one another.
pytestmark = pytest.mark.filterwarnings("ignore::Warning:(?!ferryman).*")


@pytest.fixture(scope="module")
def database():
    """Airflow's tables, in this session's home."""
    from airflow.utils.db import initdb

    initdb()


@pytest.fixture
def ingest(database, settings_from, load_dags, tmp_path):
    settings_from(home=tmp_path)
    return load_dags().dags["flights.ingest"]


def _states(run):
    return {task.task_id: str(task.state) for task in run.get_task_instances()}


def test_a_run_publishes_its_window_and_hands_results_on(ingest, tmp_path):
    from ferryman.data.versions.snapshots import SnapshotStore
    from ferryman.runtime.local_object_store import LocalObjectStore

    run = ingest.test(run_conf={"window_start": "2013-02-01"})
    assert _states(run) == {"ingest": "success", "validate": "success"}
    store = SnapshotStore(LocalObjectStore(tmp_path / "data"))
    [snapshot] = store.published("flights")
    assert snapshot.window == day_window(datetime(2013, 2, 1, tzinfo=UTC))
    [folder] = (tmp_path / "runs" / "flights" / "ingest").iterdir()
    assert (folder / "ingest" / "result.json").is_file()
    assert (folder / "validate" / "result.json").is_file()


def test_a_wrong_param_fails_the_task_with_text_and_remedy(ingest, tmp_path, capfd):
    run = ingest.test(run_conf={"window_strat": "2013-02-01"})
    assert _states(run) == {"ingest": "failed", "validate": "upstream_failed"}
    log = "".join(capfd.readouterr())
    assert "ingest failed (exit 2): unknown key 'window_strat'" in log
    assert "did you mean 'window_start'?" in log
    assert "Remedy: Params of this DAG: accept_leakage, window_end, window_start." in log
    assert not (tmp_path / "data").exists()


def test_a_step_over_its_limit_says_so_and_publishes_nothing(ingest, tmp_path, capfd):
    from ferryman.data.versions.snapshots import SnapshotStore
    from ferryman.runtime.local_object_store import LocalObjectStore

    # The first one has imported all there is, so that no import is cut.
    assert _states(ingest.test(run_conf={"window_start": "2013-02-01"}))["ingest"] == "success"
    ingest.task_dict["ingest"].execution_timeout = timedelta(seconds=0.02)
    run = ingest.test(run_conf={"window_start": "2013-02-02"})
    assert _states(run) == {"ingest": "failed", "validate": "upstream_failed"}
    assert "ingest was ended at its limit of 0:00:00.020000 (h:mm:ss)" in "".join(
        capfd.readouterr()
    )
    store = SnapshotStore(LocalObjectStore(tmp_path / "data"))
    assert [one.window for one in store.published("flights")] == [
        day_window(datetime(2013, 2, 1, tzinfo=UTC))
    ]
