"""The drill DAG: off until a time is declared, started by hand at any time."""

import pytest
from release_fixtures import template, world
from rollback_world import alert_channel
from small_bundles import _small_bundles, free_ports, make_bundle

from ferryman.ledger.ledger import Ledger
from ferryman.ledger.records import DRILL, State

# Airflow in one process loads its API server, whose own libraries warn of one another.
pytestmark = pytest.mark.filterwarnings("ignore::Warning:(?!ferryman).*")
__all__ = ["_small_bundles", "free_ports", "make_bundle", "template", "world"]

ROLLOUT = """\
rollout:
  limits: {errors: 0.2, latency: 30, shift: 0.3, min_requests: 300}
  drill: {weight: 0.5, within: 30s}
"""


def test_it_is_off_until_a_time_is_declared(load_dags, zoo, settings_from):
    from airflow.sdk import CronDataIntervalTimetable

    file = zoo / "other" / "model.yaml"
    text = file.read_text()
    for old, new in (
        ("\nschedule:\n", '\nschedule:\n  drill: "0 6 * * 1"\n'),
        ("\nrollout: {", "\nrollout: {drill: {within: 90m}, "),
    ):
        assert old in text
        text = text.replace(old, new)
    file.write_text(text)
    settings_from(zoo=zoo)
    dags = load_dags().dags
    usual, declared = dags["flights.drill"], dags["other.drill"]
    assert usual.timetable.can_be_scheduled is False
    assert isinstance(declared.timetable, CronDataIntervalTimetable)
    assert sorted(usual.params) == ["kind", "reason"]
    assert usual.max_active_runs == declared.max_active_runs == 1
    hours = [
        dag.get_task("drill").execution_timeout.total_seconds() / 3600 for dag in (usual, declared)
    ]
    assert hours == [1, 2]  # a drill of 90 minutes is not cut off


def test_there_is_nothing_to_drill_before_a_release(load_dags, settings_from, tmp_path):
    from airflow.utils.db import initdb

    initdb()
    settings_from(home=tmp_path)
    dag = load_dags().dags["flights.drill"]
    run = dag.test(run_conf={"kind": "nan"})
    assert {task.task_id: str(task.state) for task in run.get_task_instances()} == {
        "drill": "skipped"
    }


def test_a_kind_that_nobody_knows_is_refused(load_dags):
    from ferryman.errors import SpecError
    from ferryman_airflow.params import check_params

    assert check_params({"kind": "inverted"}, ("kind",)) == {"kind": "inverted"}
    with pytest.raises(SpecError, match="kind"):
        check_params({"kind": "nan\n"}, ("kind",))


def test_a_drill_in_airflow_is_green_once_people_are_told(
    world, load_dags, settings_from, tmp_path
):
    from airflow.utils.db import initdb

    initdb()
    file = world.zoo / "tiny" / "model.yaml"
    file.write_text(file.read_text() + ROLLOUT)
    deaf = load_dags().dags["tiny.drill"].test(run_conf={"kind": "constant"})
    assert [str(task.state) for task in deaf.get_task_instances()] == ["failed"]
    with alert_channel() as (url, received):
        settings_from(connection_alerts=url)
        heard = load_dags().dags["tiny.drill"].test(run_conf={"kind": "constant"})
    assert [str(task.state) for task in heard.get_task_instances()] == ["success"]
    assert [told["title"] for told in received] == ["tiny: fire drill aborted"]
    assert received[0]["link"].startswith("http")
    drills = [op for op in Ledger(world.ledger_url).ops("tiny") if op.kind == DRILL]
    assert [op.state for op in drills] == [State.ABORTED, State.ABORTED]
