"""A server that declares autoscaling has a DAG of its own; a wrong file takes no other away."""

from pathlib import Path

import pytest

from ferryman.deployment.autoscaling.log import AutoscalingFiles
from ferryman.steps.pipelines import PIPELINES

IMAGE = "registry.example/ferryman@sha256:" + "a" * 64
SERVERS = f"""
spec_version: 1
servers:
  main: {{autoscaling: {{max: 3, rules: [{{kind: cpu}}]}}}}
  quiet: {{port: 7000, admin_port: 7001}}
  busy:
    port: 7002
    admin_port: 7003
    autoscaling: {{min: 1, max: 4, rules: [{{kind: requests, per_replica: 50}}]}}
  cluster:
    place: kubernetes
    autoscaling: {{max: 3, rules: [{{kind: cpu}}]}}
    kubernetes: {{image: "{IMAGE}", bundles: store}}
"""


@pytest.fixture
def servers(zoo: Path, tmp_path: Path, settings_from) -> Path:
    """The file; the settings' home is the test's own."""
    file = zoo / "servers.yaml"
    file.write_text(SERVERS)
    settings_from(zoo=zoo, home=tmp_path / "home")
    return file


def _others() -> set[str]:
    return {f"{model}.{pipeline}" for model in ("flights", "other") for pipeline in PIPELINES}


def test_servers_of_this_machine_that_declare_it_have_a_dag(servers, load_dags):
    bag = load_dags()
    assert bag.import_errors == {}
    assert set(bag.dags) - _others() == {"servers.main.autoscaling", "servers.busy.autoscaling"}
    dag = bag.dags["servers.busy.autoscaling"]
    assert (dag.catchup, dag.max_active_runs) == (False, 1)
    assert dag.description == "1 to 4 replicas of busy, by requests."
    [task] = dag.tasks
    assert (task.task_id, task.server, task.retries) == ("autoscale", "busy", 0)
    assert list(task.template_fields) == []


def test_a_wrong_file_takes_away_these_dags_only_and_is_shown(servers, load_dags):
    servers.write_text(SERVERS.replace("max: 4", "maxx: 4"))
    line = next(n for n, text in enumerate(servers.read_text().splitlines(), 1) if "maxx" in text)
    bag = load_dags()
    assert set(bag.dags) == _others()
    texts = [text for file, text in bag.import_errors.items() if file.endswith("autoscaling.py")]
    assert len(texts) == 1
    assert f"{servers}:{line}" in texts[0] and "did you mean 'max'" in texts[0]


def test_at_a_tasks_start_only_its_own_dag_is_made(servers, load_dags, monkeypatch):
    monkeypatch.setenv("_AIRFLOW_PARSING_CONTEXT_DAG_ID", "servers.busy.autoscaling")
    assert set(load_dags().dags) == {"servers.busy.autoscaling"}


def test_its_dags_survive_serialisation(servers, load_dags):
    from airflow.serialization.serialized_objects import DagSerialization

    dag = load_dags().dags["servers.main.autoscaling"]
    restored = DagSerialization.from_dict(DagSerialization.to_dict(dag))
    assert restored.doc_md == dag.doc_md


def _task(seconds):
    from ferryman_airflow.autoscaling import AutoscaleServer

    return AutoscaleServer(task_id="autoscale", server="busy", seconds=seconds)


def test_a_run_without_a_server_decides_to_hold_and_does_not_fail(servers, tmp_path):
    found = _task(0.0).execute({})
    assert (found["decisions"], found["changes"]) == (1, 0)
    assert "stopped" in found["reason"]
    [decision] = AutoscalingFiles(tmp_path / "home" / "servers" / "busy").decisions(5)
    assert "stopped" in decision.error


def test_a_run_beside_another_autoscaler_is_skipped(servers, tmp_path):
    from airflow.sdk.exceptions import AirflowSkipException

    files = AutoscalingFiles(tmp_path / "home" / "servers" / "busy")
    with files.turn("busy"), pytest.raises(AirflowSkipException, match="already"):
        _task(0.0).execute({})


def test_a_server_that_is_gone_from_the_file_fails_the_run(servers):
    from ferryman.errors import SpecError

    servers.write_text("spec_version: 1\nservers: {}\n")
    with pytest.raises(SpecError, match="no server 'busy'"):
        _task(0.0).execute({})


# Airflow in one process loads its API server, whose own libraries warn of one another.
@pytest.mark.filterwarnings("ignore::Warning:(?!ferryman).*")
def test_a_run_of_the_dag_ends_well_without_a_server(servers, load_dags, tmp_path):
    from airflow.utils.db import initdb

    initdb()
    dag = load_dags().dags["servers.main.autoscaling"]
    dag.tasks[0].seconds = 0.0
    assert dag.test().state == "success"
    assert len(AutoscalingFiles(tmp_path / "home" / "serving").decisions(5)) == 1
