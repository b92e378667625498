"""A person's answer, asked by Airflow and kept by the ledger: real steps, server, and REST."""

import json
from types import SimpleNamespace

import pytest
from one_process import OneProcessRun
from release_world import Release, candidate, copy_world, declare, fill
from small_bundles import _small_bundles, free_ports, make_bundle

from ferryman.deployment.process.process_deployer import ProcessDeployer
from ferryman.ledger.ledger import Ledger
from ferryman.ledger.records import State
from ferryman.runtime.files import write_json
from ferryman.runtime.messages import StepResult
from ferryman.runtime.run_store import run_folder
from ferryman.settings import Settings

pytestmark = pytest.mark.filterwarnings("ignore::Warning:(?!ferryman).*")

__all__ = ["_small_bundles", "free_ports", "make_bundle"]

USERS = {"rita": "op", "olga": "op", "ivan": "op", "guest": "viewer"}
ROLLOUT = "rollout: {approval: {approvers: [rita, olga], answer_within: 1h}}\n"
GIVEN = ("cutoff", "train_dataset", "eval_dataset", "code_version", "mlflow_run_id", "reason")
HOSTILE = "{{ ti.xcom_push(1) }} <script>alert(1)</script> **bold** [x](javascript:1)"


@pytest.fixture(scope="module")
def template(tmp_path_factory, make_bundle, free_ports):
    """An installation whose first version serves, and whose further ones need an approval."""
    root, ports = tmp_path_factory.mktemp("approvals"), free_ports(2)
    settings = Settings(
        home=root / "home", zoo=root / "zoo", serving_port=ports[0], serving_admin_port=ports[1]
    )
    fill(settings, make_bundle)
    deployer = ProcessDeployer(settings)
    deployer.start()
    try:
        Release(settings, "first", candidate(settings, 1, make_bundle)).run_all()
    finally:
        deployer.stop()
    file = declare(settings.zoo).file
    file.write_text(file.read_text() + ROLLOUT)
    return settings


@pytest.fixture(scope="module")
def api(tmp_path_factory, airflow_api):
    """Airflow's API, and the header of each user."""
    with airflow_api(tmp_path_factory.mktemp("auth"), USERS) as client:
        users = {}
        for name in USERS:
            body = {"username": name, "password": f"{name}-password"}
            token = client.post("/auth/token", json=body).json()["access_token"]
            users[name] = {"Authorization": f"Bearer {token}"}
        client.cookies.clear()
        yield SimpleNamespace(client=client, **users)


@pytest.fixture
def world(template, tmp_path, free_ports, settings_from):
    """A copy of the installation with a server of its own."""
    settings = copy_world(template, tmp_path / "home", free_ports(2))
    ports = {
        "serving_port": settings.serving_port,
        "serving_admin_port": settings.serving_admin_port,
    }
    settings_from(home=settings.home, zoo=settings.zoo, actor="airflow", **ports)
    deployer = ProcessDeployer(settings)
    deployer.start()
    yield settings
    deployer.stop()


@pytest.fixture
def dag(world, api, load_dags):
    """The DAG `tiny.release`, known to Airflow's database."""
    from airflow.dag_processing.dagbag import sync_bag_to_db

    bag = load_dags()
    sync_bag_to_db(bag, "dags-folder", None)
    return bag.dags["tiny.release"]


@pytest.fixture
def trained(world, make_bundle):
    """Write the finished training run of a version; its folder's name."""

    def write(version, requested_by=None, **changed):
        given = {**candidate(world, version, make_bundle), **changed}
        folder = run_folder(world.runs_root, "tiny", "training", f"v{version}")
        outputs = {
            "train": {name: given.get(name, "") for name in GIVEN},
            "register": {name: given[name] for name in ("version", "bundle", "digest", "run_key")},
        }
        for step, values in outputs.items():
            result = StepResult(model="tiny", step=step, request_digest="d", outputs=values)
            write_json(folder / step / "result.json", result.model_dump(mode="json"))
        if requested_by:
            write_json(folder / "requested_by.json", {"user": requested_by})
        return folder.name

    return write


@pytest.fixture
def begin(api, dag, trained):
    """Start a release by REST as a user, and go on until the question is asked."""

    def run(user="rita", version=2, **changed):
        conf = {"run": trained(version, **changed)}
        found = OneProcessRun(api.client, dag, getattr(api, user), conf)
        found.advance()
        return found

    return run


def _head(settings):
    head = Ledger(settings.ledger_url).head("tiny")
    return head.epoch, head.version


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
    assert run.answer(api.rita, "Approve").status_code == 403  # who asked may not answer
    assert run.answer(api.ivan, "Approve").status_code == 403
    assert run.answer(api.guest, "Approve").status_code == 403
    assert _head(world) == (1, 1)
    assert run.answer(api.olga, "Approve", "the slices look right").status_code == 200
    assert run.answer(api.olga, "Reject").status_code == 409
    assert set(run.advance().values()) == {"success"}
    assert _head(world) == (2, 2)
    ledger = Ledger(world.ledger_url)
    [approved] = [row for row in ledger.history("tiny") if row.state is State.APPROVED]
    assert (approved.actor, approved.reason) == ("olga", "the slices look right")
    assert (approved.evidence["requester"], approved.base_epoch) == ("rita", 1)
    assert ledger.verify() == []

    run.clear(api.rita, "gate")  # last month's release, run again: nothing is asked, nothing done
    assert set(run.advance().values()) == {"success"}
    assert _head(world) == (2, 2)


def test_a_no_ends_the_run_without_a_failure_and_stands(api, begin, world):
    run = begin("rita")
    assert run.answer(api.olga, "Reject").status_code == 200
    states = run.advance()
    assert states["approve"] == "success"
    assert {states[name] for name in ("commit", "reconcile")} == {"skipped"}
    assert _head(world) == (1, 1)
    last = Ledger(world.ledger_url).history("tiny")[-1]
    assert (last.state, last.actor) == (State.REJECTED, "olga")
    assert "no reason was given" in last.reason

    run.clear(api.rita, "approve")
    states = run.advance()
    assert states["approve"] == "failed"
    assert _head(world) == (1, 1)


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
    assert _head(world) == (1, 1)


def test_a_cleared_task_asks_again_and_an_earlier_answer_does_not_count(api, begin, world):
    run = begin("rita")
    first = run.question(api.olga)
    assert run.answer(api.olga, "Approve").status_code == 200
    run.clear(api.rita, "approve")  # before the answer was read
    run.advance()
    assert run.states()["approve"] == "awaiting_input"
    again = run.question(api.olga)
    assert (again["response_received"], again["body"]) == (False, first["body"])
    assert _head(world) == (1, 1)
    assert run.answer(api.olga, "Approve").status_code == 200
    assert set(run.advance().values()) == {"success"}
    assert _head(world) == (2, 2)


def test_another_champion_meanwhile_is_a_lost_race_and_needs_a_new_approval(
    api, begin, world, make_bundle, capfd
):
    run = begin("rita")
    template = declare(world.zoo)
    plain = template.file.read_text().replace(ROLLOUT, "")
    with_rollout = template.file.read_text()
    template.file.write_text(plain)
    Release(world, "faster", candidate(world, 3, make_bundle)).run_all()
    template.file.write_text(with_rollout)
    assert _head(world) == (2, 3)
    assert run.answer(api.olga, "Approve", "looks good to me").status_code == 200
    assert run.advance()["approve"] == "failed"
    assert "approve failed (exit 8)" in "".join(capfd.readouterr())
    assert _head(world) == (2, 3)

    run.clear(api.rita, "gate")  # Airflow would show the old question: it is not asked
    assert run.advance()["approve"] == "failed"
    log = "".join(capfd.readouterr())
    assert "this run asked before" in log
    assert "Start a new run of tiny.release, with the param run = v2-" in log

    new = begin("rita")
    assert "against epoch 2" in new.question(api.olga)["subject"]
    assert new.answer(api.olga, "Approve").status_code == 200
    assert set(new.advance().values()) == {"success"}
    assert _head(world) == (3, 2)


def test_a_task_marked_as_successful_approves_nothing(api, begin, world):
    run = begin("rita")
    path = f"{run.address('approve')}"
    done = api.client.patch(path, headers=api.ivan, json={"new_state": "success"})
    assert done.status_code == 200
    assert run.advance()["commit"] == "failed"
    assert _head(world) == (1, 1)


def test_where_only_the_requester_could_answer_nobody_is_asked(api, dag, begin, world, capfd):
    for task in dag.tasks:
        if task.task_id == "approve":
            task.approval = task.approval.model_copy(update={"approvers": ["RITA"]})
    run = begin("rita")
    assert run.states()["approve"] == "failed"
    log = "".join(capfd.readouterr())
    assert "approve failed (exit 9): 'rita' asked for this release of tiny" in log
    assert _head(world) == (1, 1)


def test_who_started_the_training_asks_for_what_an_event_releases(trained, world):
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
