"""A person's answer, asked by Airflow and kept by the ledger: real steps, server, and REST."""

import json
from datetime import timedelta
from types import SimpleNamespace
from urllib.parse import quote

import pytest
from release_fixtures import api, begin, dag_of, head_of, roll_out, template, trained, users, world
from release_world import Release, candidate
from rollback_world import alert_channel
from small_bundles import _small_bundles, free_ports, make_bundle

from ferryman.ledger.ledger import Ledger
from ferryman.ledger.records import State

pytestmark = [
    pytest.mark.filterwarnings("ignore::Warning:(?!ferryman).*"),
    pytest.mark.usefixtures("approved_releases", "users"),
]

__all__ = ["_small_bundles", "api", "begin", "dag_of", "free_ports", "make_bundle", "roll_out"]
__all__ += ["template", "trained", "users", "world"]

ROLLOUT = "rollout: {approval: {approvers: [rita, olga], answer_within: 1h}}\n"
HOSTILE = "{{ ti.xcom_push(1) }} <script>alert(1)</script> **bold** [x](javascript:1)"


@pytest.fixture
def approved_releases(roll_out):
    """Releases of `tiny` need an approval."""
    roll_out(ROLLOUT)


def test_another_person_approves_and_only_then_the_version_serves(api, begin, world):
    run = begin("rita")
    assert run.states()["approve"] == "awaiting_input"
    assert run.states()["commit"] == "none"
    shown = run.question(api.olga)
    assert shown["assigned_users"] == [{"id": "olga", "name": "olga"}]
    assert shown["subject"] == "Release version 2 of tiny (against epoch 1)"
    for words in (
        "log\\_loss",
        "Worst slice",
        "Training data",
        "Asked for by",
        "rita",
        "Monitoring",
    ):
        assert words in shown["body"]
    assert "/ferryman/models/tiny)" in shown["body"]
    entry = f"{run.address('propose')}/xcomEntries/return_value"
    forged = api.client.get(entry, headers=api.rita, params={"stringify": False}).json()["value"]
    forged["outputs"] |= {"requester": "ivan", "digest": "0" * 64}
    changed = api.client.patch(entry, headers=api.rita, json={"value": forged})
    assert changed.status_code == 200, changed.text  # what Airflow's users may change is not read
    assert run.answer(api.rita, "Approve").status_code == 403  # who asked may not answer
    assert run.answer(api.ivan, "Approve").status_code == 403
    assert run.answer(api.guest, "Approve").status_code == 403
    assert head_of(world) == (1, 1)
    assert run.answer(api.olga, "Approve", "the slices look right").status_code == 200
    assert run.answer(api.olga, "Reject").status_code == 409
    assert set(run.advance().values()) == {"success"}
    assert head_of(world) == (2, 2)
    ledger = Ledger(world.ledger_url)
    [approved] = [row for row in ledger.history("tiny") if row.state is State.APPROVED]
    assert (approved.actor, approved.reason) == ("olga", "the slices look right")
    assert (approved.evidence["requester"], approved.base_epoch) == ("rita", 1)
    assert ledger.verify() == []

    run.clear(api.rita, "gate")  # last month's release, run again: nothing is asked, nothing done
    assert set(run.advance().values()) == {"success"}
    assert head_of(world) == (2, 2)


def test_a_no_ends_the_run_without_a_failure_and_stands(api, begin, world):
    run = begin("rita")
    assert run.answer(api.olga, "Reject").status_code == 200
    states = run.advance()
    assert states["approve"] == "success"
    assert {states[name] for name in ("commit", "reconcile")} == {"skipped"}
    assert head_of(world) == (1, 1)
    last = Ledger(world.ledger_url).history("tiny")[-1]
    assert (last.state, last.actor) == (State.REJECTED, "olga")
    assert "no reason was given" in last.reason

    run.clear(api.rita, "approve")
    states = run.advance()
    assert states["approve"] == "failed"
    assert head_of(world) == (1, 1)


def test_no_answer_in_time_is_a_no(api, begin, world):
    from airflow.jobs.job import Job
    from airflow.jobs.scheduler_job_runner import SchedulerJobRunner
    from airflow.models.taskinstance import TaskInstance
    from airflow.sdk.timezone import parse
    from airflow.utils.session import create_session
    from sqlalchemy import update

    run = begin("rita")
    with create_session() as session:
        mine = update(TaskInstance).where(TaskInstance.run_id == run.run_id)
        session.execute(mine.values(trigger_timeout=parse("2020-01-01T00:00:00+00:00")))
    SchedulerJobRunner(job=Job()).check_awaiting_input_timeouts()
    states = run.advance()
    assert (states["approve"], states["commit"]) == ("success", "skipped")
    last = Ledger(world.ledger_url).history("tiny")[-1]
    assert (last.state, last.actor) == (State.REJECTED, "nobody")
    assert last.reason == "nobody answered within 1:00:00"
    assert head_of(world) == (1, 1)


def test_a_cleared_task_asks_again_and_an_earlier_answer_does_not_count(
    api, begin, world, settings_from
):
    with alert_channel() as (url, told):
        settings_from(connection_alerts=url)
        run = begin("rita")
        [message] = told
        _check_question(message, run)
        first = run.question(api.olga)
        assert run.answer(api.olga, "Approve").status_code == 200
        run.clear(api.rita, "approve")  # before the answer was read
        run.advance()
        assert run.states()["approve"] == "awaiting_input"
        again = run.question(api.olga)
        assert (again["response_received"], again["body"]) == (False, first["body"])
        assert head_of(world) == (1, 1)
        assert run.answer(api.olga, "Approve").status_code == 200
        assert set(run.advance().values()) == {"success"}
        assert head_of(world) == (2, 2)
    assert told == [message]  # asked again, cleared and answered: told once


def _check_question(message, run):
    """An approver is told who asks, what for, who may answer, and where."""
    names = ("event", "severity", "model", "dag", "task", "run_id", "version", "requester")
    assert [message[name] for name in names] == [
        "approval", "warning", "tiny", "tiny.release", "approve", run.run_id, 2, "rita",
    ]  # fmt: skip
    assert message["title"] == "tiny: approval wanted"
    assert message["text"] == (
        "Release version 2 of tiny (against epoch 1); asked for by rita, to be answered by olga "
        "within 1:00:00"
    )
    assert (message["approvers"], message["answer_within"]) == (["olga"], "1:00:00")
    page = f"/dags/tiny.release/runs/{quote(run.run_id)}/tasks/approve/required_actions"
    assert message["link"].endswith(page)


def test_a_yes_that_the_ledger_holds_is_passed_on_where_airflow_lost_it(api, begin, world, capfd):
    run = begin("rita")
    _say_yes(world)
    run.clear(api.rita, "approve")  # the task failed after it had written the answer
    capfd.readouterr()
    assert set(run.advance().values()) == {"success"}  # and nobody was asked again
    assert "approval wanted" not in "".join(capfd.readouterr())
    assert head_of(world) == (2, 2)
    ledger = Ledger(world.ledger_url)
    assert [row.state for row in ledger.history("tiny")].count(State.APPROVED) == 1
    assert ledger.verify() == []


@pytest.mark.parametrize("written", [True, False])
def test_where_airflow_takes_a_quick_answer_for_a_failure_the_next_try_goes_on(
    api, begin, world, written
):
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session
    from sqlalchemy import select

    run = begin("rita")
    assert run.answer(api.olga, "Approve", "the slices look right").status_code == 200
    if written:  # the answer's process was quick, too
        _say_yes(world)
    with create_session() as session:  # as the scheduler does when it finds that process "ended"
        mine = select(TaskInstance).where(TaskInstance.run_id == run.run_id)
        [task] = [one for one in session.scalars(mine) if one.task_id == "approve"]
        task.task = run.dag.get_task("approve")
        task.handle_failure("finished with state success, but the state is queued", session=session)
        assert task.state == "up_for_retry"
        task.end_date -= timedelta(minutes=1)  # so long the next try waits at most
    run.advance()
    if not written:  # what the ledger does not hold counts nowhere: asked again
        assert run.states()["approve"] == "awaiting_input"
        assert head_of(world) == (1, 1)
        assert run.answer(api.olga, "Approve").status_code == 200
        run.advance()
    assert set(run.states().values()) == {"success"}
    assert head_of(world) == (2, 2)


def _say_yes(settings):
    ledger = Ledger(settings.ledger_url)
    [op] = [op for op in ledger.ops("tiny") if op.state is State.STAGED]
    ledger.decide(
        op.op_id,
        base_epoch=op.base_epoch,
        digest=op.candidate.digest,
        approved=True,
        actor="olga",
        requester="rita",
        reason="the slices look right",
    )


def test_another_champion_meanwhile_is_a_lost_race_and_needs_a_new_approval(
    api, begin, world, make_bundle, roll_out, capfd
):
    run = begin("rita")
    roll_out("")
    Release(world, "faster", candidate(world, 3, make_bundle)).run_all()
    roll_out(ROLLOUT)
    assert head_of(world) == (2, 3)
    assert run.answer(api.olga, "Approve", "looks good to me").status_code == 200
    assert run.advance()["approve"] == "failed"
    assert "approve failed (exit 8)" in "".join(capfd.readouterr())
    assert head_of(world) == (2, 3)

    run.clear(api.rita, "gate")  # Airflow would show the old question: it is not asked
    assert run.advance()["approve"] == "failed"
    log = "".join(capfd.readouterr())
    assert "this run asked before" in log
    assert "Start a new run of tiny.release, with the param run = v2-" in log

    new = begin("rita")
    assert "against epoch 2" in new.question(api.olga)["subject"]
    assert new.answer(api.olga, "Approve").status_code == 200
    assert set(new.advance().values()) == {"success"}
    assert head_of(world) == (3, 2)


def test_a_task_marked_as_successful_approves_nothing(api, begin, world):
    run = begin("rita")
    path = f"{run.address('approve')}"
    done = api.client.patch(path, headers=api.ivan, json={"new_state": "success"})
    assert done.status_code == 200
    assert run.advance()["commit"] == "failed"
    assert head_of(world) == (1, 1)


def test_where_only_the_requester_could_answer_nobody_is_asked(begin, roll_out, world, capfd):
    roll_out("rollout: {approval: {approvers: [RITA]}}\n")
    run = begin("rita")
    assert run.states()["approve"] == "failed"
    log = "".join(capfd.readouterr())
    assert "approve failed (exit 9): 'rita' asked for this release of tiny" in log
    assert head_of(world) == (1, 1)


def test_who_started_the_training_asks_for_what_an_event_releases(trained):
    from ferryman_airflow.asset_events import proposal_params

    def asked(user, training_by):
        run = trained(2, requested_by=training_by)
        context = {"params": {"run": run}, "dag_run": SimpleNamespace(triggering_user_name=user)}
        return proposal_params(context, "tiny")

    assert asked("rita", "olga")["requester"] == "rita"
    found = asked(None, "olga")
    assert found["requester"] == "olga"
    assert found["training_run"].startswith("v2-")


def test_what_a_proposal_quotes_stays_data(api, begin):
    body = begin("rita", reason=HOSTILE).question(api.olga)["body"]
    assert "{{ ti.xcom\\_push(1) }}" in body  # shown as it was written, never rendered
    assert "<script>" not in body
    assert "**bold**" not in body
    assert "\\[x\\](javascript:1)" in body
    assert len(json.dumps(body)) < 25_000
