"""A training task and its run in MLflow link to each other."""

import shutil
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

pytestmark = pytest.mark.filterwarnings("ignore::Warning:(?!ferryman).*")


@pytest.fixture
def training(rain, rain_hours, settings_from, empty_mlflow, load_dags, tmp_path):
    """The DAG of `rain`, whose windows are published; MLflow shows pages at port 5999."""
    from airflow.utils.db import initdb

    from ferryman.settings import load_settings
    from ferryman.spec.windows import Window
    from ferryman.steps.journey import Journey

    (tmp_path / "source" / "rain").mkdir(parents=True)
    rain_hours(24).to_parquet(tmp_path / "source" / "rain" / "hours_2024-01.parquet")
    settings_from(
        zoo=rain.folder.parent,
        home=tmp_path / "home",
        source_root=tmp_path / "source",
        mlflow_ui="http://somebody:secret@127.0.0.1:5999/",
    )
    shutil.copytree(empty_mlflow, tmp_path / "home" / "mlflow")
    start = datetime(2024, 1, 1, tzinfo=UTC)
    journey = Journey(load_settings(), rain)
    list(journey.run("ingest", window=Window(start=start, end=start + timedelta(days=24))))
    initdb()
    return load_dags().dags["rain.training"]


def test_task_and_run_link_to_each_other(training, tmp_path):
    from ferryman.registry.mlflow_connection import connect
    from ferryman.settings import load_settings

    run = training.test(mark_success_pattern="evaluate|package|register|report")
    task = training.get_task("train")
    (link,) = [link for link in task.operator_extra_links if link.name == "MLflow run"]
    address = link.get_link(task, ti_key=SimpleNamespace(run_id=run.run_id))
    head, _, tracked = address.rpartition("/")
    assert head == "http://127.0.0.1:5999/#/runs"

    tags = connect(load_settings().mlflow_uri).get_run(tracked).data.tags
    origin = tags["ferryman.origin"]
    assert origin.startswith("http")
    assert "/dags/rain.training/runs/" in origin
    assert origin.endswith("/tasks/train")
    assert f"(<{origin}>)" in tags["mlflow.note.content"]
    assert tags["ferryman.run_id"] == run.run_id

    untrained = SimpleNamespace(run_id="another run")
    assert link.get_link(task, ti_key=untrained) == ""
    package = training.get_task("package")
    assert [one.name for one in package.operator_extra_links] == ["MLflow run"]


def test_no_address_where_no_mlflow_shows_pages():
    from ferryman.settings import Settings

    assert Settings(mlflow_uri="sqlite:////a/b.db").mlflow_page("1") == ""
    assert Settings(mlflow_uri="http://u:p@host:1/").mlflow_page("1") == "http://host:1/#/runs/1"
    ours = Settings(mlflow_uri="sqlite:////a/b.db", mlflow_ui="https://mlflow.example.org/x/")
    assert ours.mlflow_page("1") == "https://mlflow.example.org/x/#/runs/1"
