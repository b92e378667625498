"""Releases that come twice, late, or after a rollback: through Airflow's REST, with real steps."""

import pytest
from one_process import EventRun, OneProcessRun
from release_fixtures import api, begin, dag_of, head_of, roll_out, template, trained, users, world
from release_world import declare
from small_bundles import _small_bundles, free_ports, make_bundle

from ferryman.ledger.ledger import Ledger
from ferryman.ledger.records import State
from ferryman.runtime.files import read_json, write_json
from ferryman.runtime.run_store import run_folder, run_results

pytestmark = [
    pytest.mark.filterwarnings("ignore::Warning:(?!ferryman).*"),
    pytest.mark.usefixtures("users"),
]

__all__ = ["_small_bundles", "api", "begin", "dag_of", "free_ports", "make_bundle", "roll_out"]
__all__ += ["template", "trained", "users", "world"]


ERROR = "train/error.json"


def _commits(settings):
    rows = Ledger(settings.ledger_url).history("tiny")
    return [row.candidate.version for row in rows if row.state is State.COMMITTED]


def test_older_candidates_are_skipped_not_failed_and_a_release_repeated_changes_nothing(
    begin, world, api
):
    newest = begin(version=2)  # cut off on day 6; version 3 on day 5
    assert set(newest.states().values()) == {"success"}
    assert head_of(world) == (2, 2)
    late = begin(version=3)
    assert set(late.states().values()) == {"skipped"}
    assert head_of(world) == (2, 2)
    newest.clear(api.rita, "gate")
    assert set(newest.advance().values()) == {"success"}
    folder = run_folder(world.runs_root, "tiny", "release", newest.run_id)
    assert run_results(folder)["gate"].text == "already done (epoch 2)"
    assert (head_of(world), _commits(world)) == ((2, 2), [1, 2])


def test_what_a_backfill_made_is_released_where_a_person_asks(dag_of, trained, world, api):
    restated, older = trained(2, asked="backfill"), trained(3, asked="backfill")
    alone = EventRun(api.client, dag_of("release"), api.rita, {"run": restated})
    assert set(alone.advance().values()) == {"skipped"}
    folder = run_folder(world.runs_root, "tiny", "release", alone.run_id)
    assert "comes from a backfill, which releases nothing" in run_results(folder)["gate"].text
    assert head_of(world) == (1, 1)
    ledger = Ledger(world.ledger_url)
    assert {op.candidate.version for op in ledger.ops("tiny")} == {1}
    asked = OneProcessRun(api.client, dag_of("release"), api.rita, {"run": restated})
    assert set(asked.advance().values()) == {"success"}
    assert head_of(world) == (2, 2)
    late = EventRun(api.client, dag_of("release"), api.rita, {"run": older})
    assert set(late.advance().values()) == {"skipped"}
    assert (head_of(world), _commits(world)) == ((2, 2), [1, 2])
    assert ledger.ops("tiny")[-1].state is State.SUPERSEDED


def test_drift_events_that_tell_nothing_new_train_nothing(dag_of, trained, world, api):
    known = trained(2)
    folder = world.runs_root / "tiny" / "training" / known
    cutoff = run_results(folder)["train"].outputs["cutoff"]
    own = {"model": "tiny", "code_digest": declare(world.zoo).digest, "code_version": "test"}
    own |= {"train_dataset": "t", "eval_dataset": "e", "pipeline": "p", "params": {}, "seed": 1}
    write_json(folder / "train" / "recipe.json", {**own, "cores": 1})
    events = [{"cutoff": f"2013-01-0{day}T00:00:00Z", "reason": "drift"} for day in (4, 5, 6)]
    run = EventRun(api.client, dag_of("training"), api.rita, *events)
    assert set(run.advance().values()) == {"skipped"}
    told = read_json(run_folder(world.runs_root, "tiny", "training", run.run_id) / ERROR)
    assert told["exit_code"] == 5
    assert told["text"].startswith(f"already trained on data up to {cutoff} (version 2, run v2-")


def test_one_run_id_is_one_run_and_an_unknown_key_is_told_with_the_nearest(
    api, dag_of, trained, world, capfd
):
    dag = dag_of("release")
    path = "/api/v2/dags/tiny.release/dagRuns"
    body = {"dag_run_id": "by-hand", "logical_date": None, "conf": {}}
    assert api.client.post(path, headers=api.rita, json=body).status_code == 200
    assert api.client.post(path, headers=api.rita, json=body).status_code == 409
    run = OneProcessRun(api.client, dag, api.rita, {"rum": trained(2)})
    assert run.advance()["gate"] == "failed"
    log = "".join(capfd.readouterr())
    assert "gate failed (exit 2): unknown key 'rum'" in log
    assert "did you mean 'run'?" in log
    assert head_of(world) == (1, 1)


def test_a_version_that_was_rolled_back_is_not_brought_back_by_its_release(
    begin, dag_of, world, api, capfd
):
    release = begin(version=2)
    assert head_of(world) == (2, 2)
    conf = {"version": 1, "epoch": 2, "reason": "users see wrong answers"}
    back = OneProcessRun(api.client, dag_of("rollback"), api.olga, conf)
    assert set(back.advance().values()) == {"success"}
    assert head_of(world) == (3, 1)
    capfd.readouterr()
    release.clear(api.rita, "gate")
    assert release.advance()["gate"] == "failed"
    assert "gate failed (exit 9): tiny version 2 is quarantined" in "".join(capfd.readouterr())
    assert head_of(world) == (3, 1)
    again = OneProcessRun(api.client, dag_of("rollback"), api.olga, conf)
    again.advance()  # clicked again on a page that is out of date: one step back, not two
    assert head_of(world) == (3, 1)
