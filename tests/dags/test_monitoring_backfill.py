"""Five monitored windows are backfilled by REST, three at a time, beside the nightly run."""

from typing import Any

import pytest
from lived_nights import Past, told_by
from one_process import OneProcessRun
from release_fixtures import api
from served_world import at
from small_bundles import _small_bundles, make_bundle

from ferryman.runtime.run_store import run_folder

# Airflow in one process loads its API server, whose own libraries warn of one another.
pytestmark = pytest.mark.filterwarnings("ignore::Warning:(?!ferryman).*")
__all__ = ["_small_bundles", "api", "make_bundle"]

NIGHTS = range(7, 12)


class BackfilledRun(OneProcessRun):
    """A run that a backfill made; the scheduler is played by the test."""

    def __init__(self, client: Any, dag: Any, run_id: str) -> None:
        self.client, self.dag, self.run_id = client, dag, run_id
        self._begin()

    def one_task(self) -> bool:
        """Run one task; whether there was one."""
        ready = self._ready()
        for instance in ready[:1]:
            self._run(instance)
        return bool(ready)


@pytest.fixture
def past(tmp_path, make_bundle, settings_from):
    lived = Past(tmp_path, make_bundle, NIGHTS)
    settings_from(home=lived.settings.home, zoo=lived.settings.zoo, actor="airflow")
    return lived


@pytest.fixture
def dag_of(past, api, load_dags):
    from airflow.dag_processing.dagbag import sync_bag_to_db

    def load(pipeline):
        bag = load_dags()
        assert bag.import_errors == {}
        sync_bag_to_db(bag, "dags-folder", None)
        return bag.dags[f"tiny.{pipeline}"]

    return load


def backfill(api, dag, first, last, **more):
    body = {
        "dag_id": dag.dag_id,
        "from_date": at(first).start.isoformat(),
        "to_date": at(last).start.isoformat(),
        "max_active_runs": 3,
        **more,
    }
    return api.client.post("/api/v2/backfills", headers=api.rita, json=body)


def test_a_word_that_as_known_does_not_know_is_refused(past, dag_of, api):
    refused = backfill(api, dag_of("monitoring"), 7, 8, dag_run_conf={"as_known": "later"})
    assert refused.status_code == 422, refused.text
    assert "then|now" in refused.text


def test_five_windows_three_at_a_time_beside_the_night(past, dag_of, api):
    dag = dag_of("monitoring")
    assert dag.max_active_runs == 1  # of nights: a backfill has a limit of its own
    past.release(4)
    before = past.files()
    answer = backfill(api, dag, NIGHTS[0], NIGHTS[-1])
    assert answer.status_code == 200, answer.text
    path = f"/api/v2/dags/{dag.dag_id}/dagRuns"
    listed = api.client.get(path, headers=api.rita, params={"run_type": "backfill"}).json()
    ids = sorted(run["dag_run_id"] for run in listed["dag_runs"])
    assert len(ids) == len(NIGHTS)
    waiting = [BackfilledRun(api.client, dag, name) for name in ids]
    done, active = [], []
    while waiting or active:  # the tasks of three runs take turns
        while waiting and len(active) < 3:
            active.append(waiting.pop())
        for run in list(active):
            if not run.one_task():
                active.remove(run)
                done.append(run)
    root = past.settings.monitoring_root
    for run in done:
        assert run.states() == {
            "join_labels": "success",
            "monitor": "success",
            "decide_retrain": "skipped",
            "verdict": "skipped",
        }
    for day, run_id in zip(NIGHTS, ids, strict=True):
        name = run_folder(past.settings.runs_root, "tiny", "monitoring", run_id).name
        reports = root / "backfills" / name / "tiny" / "reports"
        assert told_by(reports / f"{at(day).key}.json") == past.told[day]
        assert max(reports.iterdir()).stem == at(day).key  # of the past, nothing later
    assert past.files() == before
    # The night of today goes its way, with the version of today.
    last = NIGHTS[-1]
    conf = {"window_start": f"{at(last).start:%Y-%m-%d}"}
    night = OneProcessRun(api.client, dag, api.rita, conf)
    assert night.advance()["monitor"] == "success"
    [report] = [one for one in (root / "tiny" / "reports").iterdir() if one.stem == at(last).key]
    assert told_by(report)["champion"]["version"] == 4


@pytest.mark.parametrize("pipeline", ["drill", "maintenance"])
def test_what_is_done_to_the_present_is_not_backfilled(past, dag_of, api, pipeline):
    file = past.world.model.file
    every = "schedule: {drill: 0 6 * * 1, maintenance: 0 3 * * 0}\n"
    file.write_text(file.read_text() + every)
    refused = backfill(api, dag_of(pipeline), 7, 30)
    assert refused.status_code in (400, 409, 422), refused.text
    assert f"'tiny.{pipeline}' does not allow backfill runs" in refused.text
