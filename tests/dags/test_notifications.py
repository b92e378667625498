"""Stages tell of their success once, of their failure once, and a dead channel fails no run."""

import socket

import pytest
import yaml
from rollback_world import alert_channel

pytestmark = pytest.mark.filterwarnings("ignore::Warning:(?!ferryman).*")

WINDOW = {"window_start": "2013-02-01"}


@pytest.fixture
def ingest(settings_from, tmp_path, zoo):
    """ingest(notify): the DAG flights.ingest of an installation with that declaration."""
    from airflow.utils.db import initdb
    from test_lineage_events import flights_ingest

    initdb()

    def make(notify, **connections):
        file = zoo / "flights" / "model.yaml"
        text = yaml.safe_load(file.read_text()) | {"notify": notify}
        file.write_text(yaml.safe_dump(text))
        settings_from(home=tmp_path / "home", zoo=zoo, **connections)
        return flights_ingest()

    return make


def test_a_stage_tells_once_and_only_the_channels_that_want_it(ingest):
    channels = [
        {"connection": "team"},
        {"connection": "pager", "severity": "critical"},
        {"connection": "nowhere"},
    ]
    with alert_channel() as (team, told), alert_channel() as (pager, paged):
        urls = {"connection_team": team, "connection_pager": pager}
        dag = ingest({"success": ["validate"], "channels": channels}, **urls)
        run = dag.test(run_conf=WINDOW)
        assert str(run.state) == "success"
        [one] = told
        assert (one["event"], one["task"], one["severity"]) == ("success", "validate", "info")
        assert one["title"] == "flights: validate succeeded"
        assert one["run_id"] == run.run_id
        assert "/dags/flights.ingest/runs/" in one["link"]
        again = next(task for task in dag.tasks if task.task_id == "validate")
        _call_back(again, run)
        assert told == [one]
        assert paged == []
        failed = dag.test(run_conf={"window_strat": "2013-02-01"})
        assert str(failed.state) == "failed"
        assert [one["exit_code"] for one in paged] == [2]
        assert len(told) == 2


def _call_back(task, run):
    """What Airflow would do once more for a task that was cleared."""
    from ferryman_airflow.notifications import tell_success

    instance = next(one for one in run.get_task_instances() if one.task_id == task.task_id)
    tell_success({"task": task, "ti": instance})


def test_nobody_is_told_where_nothing_is_declared(ingest):
    with alert_channel() as (url, told):
        dag = ingest({"failure": ["train"]}, connection_alerts=url)
        assert all(not task.on_success_callback for task in dag.tasks)
        assert str(dag.test(run_conf=WINDOW).state) == "success"
        assert str(dag.test(run_conf={"window_strat": "2013-02-01"}).state) == "failed"
    assert told == []


def test_a_black_hole_delays_and_fails_nothing(ingest):
    with socket.socket() as hole:
        hole.bind(("127.0.0.1", 0))
        hole.listen(8)  # takes connections, and never says a word
        place = f"127.0.0.1:{hole.getsockname()[1]}"
        channels = [{"connection": "web"}, {"connection": "chat"}]
        dag = ingest(
            {"success": ["all"], "channels": channels},
            connection_web=f"http://{place}/",
            connection_chat=f"apprise+json://{place}/",
        )
        run = dag.test(run_conf=WINDOW)
        assert str(run.state) == "success"
        assert len(run.get_task_instances()) == 2
