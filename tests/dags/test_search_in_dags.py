"""The search in the training DAG: its graph, and a run of it with mapped workers."""

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

pytestmark = pytest.mark.filterwarnings("ignore::Warning:(?!ferryman).*")

SEARCH = """\
search:
  method: random
  space:
    learning_rate: {min: 0.02, max: 0.5, log: true}
    max_iter: {min: 3, max: 12, integer: true}
  validation: 3d
  trials: 4
  workers: 3
"""


@pytest.fixture
def searching(rain) -> Path:
    """The zoo of `rain`, which declares a search here."""
    with rain.file.open("a") as declaration:
        declaration.write(SEARCH)
    return rain.folder.parent


def test_without_a_search_there_is_no_task_of_it(rain, settings_from, load_dags, tmp_path):
    settings_from(zoo=rain.folder.parent, home=tmp_path)
    dag = load_dags().dags["rain.training"]
    assert next(task.task_id for task in dag.topological_sort()) == "train"
    assert dag.get_task("train").trigger_rule == "all_success"


def test_with_a_search_its_workers_are_one_mapped_task_before_train(
    searching, settings_from, load_dags, tmp_path
):
    settings_from(zoo=searching, home=tmp_path)
    bag = load_dags()
    assert bag.import_errors == {}
    dag = bag.dags["rain.training"]
    assert [task.task_id for task in dag.topological_sort()][:3] == ["open_search", "tune", "train"]
    tune = dag.get_task("tune")
    assert tune.is_mapped
    assert tune.expand_input.value == {"worker": [0, 1, 2]}
    assert tune.max_active_tis_per_dagrun == 3
    assert tune.retries >= 5
    assert tune.upstream_task_ids == {"open_search"}
    assert dag.get_task("train").upstream_task_ids == {"tune"}
    assert dag.get_task("train").trigger_rule == "all_done_min_one_success"
    assert dag.get_task("evaluate").trigger_rule == "all_success"


def test_a_mapped_search_survives_serialisation(searching, settings_from, load_dags, tmp_path):
    from airflow.serialization.serialized_objects import DagSerialization

    settings_from(zoo=searching, home=tmp_path)
    dag = load_dags().dags["rain.training"]
    written = DagSerialization.to_dict(dag)
    assert "pipeline.py" not in str(written)  # the declaration itself is not in Airflow's database
    restored = DagSerialization.from_dict(written).get_task("tune")
    assert restored.is_mapped
    assert restored.expand_input.value == {"worker": [0, 1, 2]}


@pytest.fixture
def published(searching, rain_hours, settings_from, empty_mlflow, tmp_path) -> Path:
    """An installation's home with the windows of `rain`, for Airflow too."""
    from airflow.utils.db import initdb

    from ferryman.settings import load_settings
    from ferryman.spec.loader import load_model
    from ferryman.spec.windows import Window
    from ferryman.steps.journey import Journey

    (tmp_path / "source" / "rain").mkdir(parents=True)
    rain_hours(24).to_parquet(tmp_path / "source" / "rain" / "hours_2024-01.parquet")
    home = tmp_path / "home"
    settings_from(
        zoo=searching, home=home, source_root=tmp_path / "source", code_version="test", cpus=1
    )
    shutil.copytree(empty_mlflow, home / "mlflow")
    start = datetime(2024, 1, 1, tzinfo=UTC)
    journey = Journey(load_settings(), load_model(searching / "rain"))
    list(journey.run("ingest", window=Window(start=start, end=start + timedelta(days=24))))
    initdb()
    return home


def states(run) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for task in run.get_task_instances():
        found.setdefault(task.task_id, []).append(str(task.state))
    return found


def test_a_run_draws_the_budget_once_and_trains_the_best(published, load_dags):
    from ferryman.runtime.run_store import run_results

    dag = load_dags().dags["rain.training"]
    run = dag.test(mark_success_pattern="evaluate|package|register|report")
    told = states(run)
    assert told["open_search"] == ["success"]
    assert told["tune"] == ["success"] * 3
    assert told["train"] == ["success"]
    [folder] = (published / "runs" / "rain" / "training").iterdir()
    assert run_results(folder)["train"].outputs["trial"]["of"] == 4
    assert len(list((folder / "tune").glob("worker-*/result.json"))) == 3


def test_a_search_of_failures_fails_its_run_though_every_worker_is_green(
    published, searching, load_dags, capfd
):
    file = searching / "rain" / "model.yaml"
    file.write_text(file.read_text().replace("{min: 3, max: 12,", "{min: -12, max: -3,"))
    run = load_dags().dags["rain.training"].test()
    told = states(run)
    assert told["tune"] == ["success"] * 3
    assert told["train"] == ["failed"]
    assert str(run.state) == "failed"
    assert "train failed (exit 4): the search found nothing to train with" in "".join(
        capfd.readouterr()
    )
