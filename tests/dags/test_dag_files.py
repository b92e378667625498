"""Every DAG file loads, maps its tasks to steps, and stays a picture: short, light, no logic."""

import ast
from pathlib import Path

import pytest

from ferryman.steps.pipelines import PIPELINES

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / "dags").glob("*.py"))


def test_all_files_load_without_an_import_error(load_dags):
    bag = load_dags()
    assert bag.import_errors == {}
    assert {f"flights.{name}" for name in PIPELINES} <= set(bag.dags)


def test_every_task_runs_the_step_of_its_name_in_the_pipelines_order(load_dags):
    from ferryman.catalog import load_catalog
    from ferryman.settings import load_settings
    from ferryman_airflow.operators import InlineStep

    models = load_catalog(load_settings().zoo).models
    for dag_id, dag in load_dags().dags.items():
        name, _, pipeline = dag_id.rpartition(".")
        spec = models[name].spec
        steps = list(PIPELINES[pipeline].steps_of(spec))
        if pipeline == "monitoring" and spec.data.replay is None:
            steps.remove("score")
        tasks = dag.topological_sort()
        assert [task.task_id for task in tasks] == steps, dag_id
        for task in tasks:
            if task.is_mapped:
                assert task.operator_class is InlineStep
                assert task.partial_kwargs["step_name"] == task.task_id
            else:
                assert type(task) is InlineStep
                assert task.step_name == task.task_id
            assert list(task.template_fields) == []


def test_what_fits_models_shares_the_declared_pool(load_dags, monkeypatch):
    from ferryman.settings import load_settings

    assert {task.pool for task in load_dags().dags["flights.training"].tasks} == {"default_pool"}
    monkeypatch.setenv("FERRYMAN_TRAINING_POOL", "fits")
    load_settings.cache_clear()
    pools = {task.task_id: task.pool for task in load_dags().dags["flights.training"].tasks}
    assert [name for name, pool in pools.items() if pool == "fits"] == ["train", "report"]
    assert set(pools.values()) == {"fits", "default_pool"}


def test_assets_close_the_circle(load_dags):
    dags = load_dags().dags

    def emitted(pipeline):
        return {a.uri for task in dags[f"flights.{pipeline}"].tasks for a in task.outlets}

    def awaited(pipeline):
        condition = dags[f"flights.{pipeline}"].timetable.asset_condition
        return {asset.uri for asset in condition.objects}

    assert emitted("ingest") == {"ferryman://flights/data"}
    assert emitted("monitoring") == awaited("training") == {"ferryman://flights/retrain"}
    assert emitted("training") == awaited("release") == {"ferryman://flights/candidate"}
    assert emitted("release") == {"ferryman://flights/champion"}


@pytest.mark.parametrize("pipeline", ["ingest", "monitoring"])
def test_nightly_dags_have_real_data_intervals(load_dags, pipeline):
    from airflow.sdk import CronDataIntervalTimetable

    dag = load_dags().dags[f"flights.{pipeline}"]
    assert isinstance(dag.timetable, CronDataIntervalTimetable)
    assert dag.catchup is False


def test_every_task_has_the_one_retry_policy(load_dags):
    from ferryman_airflow.retry_policy import RETRY_POLICY

    tasks = [task for dag in load_dags().dags.values() for task in dag.tasks]
    assert tasks
    assert all(task.retry_policy is RETRY_POLICY and task.retries >= 5 for task in tasks)


def test_dags_survive_serialisation(load_dags):
    from airflow.serialization.serialized_objects import DagSerialization

    for dag in load_dags().dags.values():
        restored = DagSerialization.from_dict(DagSerialization.to_dict(dag))
        assert restored.dag_id == dag.dag_id
        assert restored.doc_md == dag.doc_md


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_files_pass_airflows_check_for_varying_arguments(file):
    from airflow.utils.dag_version_inflation_checker import check_dag_file_stability

    found = check_dag_file_stability(str(file))
    assert found.check_level.value == "error"
    assert found.warnings == {}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_files_are_short_and_import_only_airflow_sdk_and_our_adapters(file):
    text = file.read_text()
    assert len(text.splitlines()) <= 60
    modules = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            modules.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            modules.add(node.module)
    assert all(name == "airflow.sdk" or name.startswith("ferryman_airflow.") for name in modules)


def test_only_the_plugin_file_is_executed_by_airflow():
    lines = (ROOT / "plugins" / ".airflowignore").read_text().split()
    assert lines == ["*", "!ferryman_plugin.py"]
    from airflow.plugins_manager import _get_plugins

    plugins, errors = _get_plugins()
    assert errors == {}
    assert "ferryman" in {plugin.name for plugin in plugins}
