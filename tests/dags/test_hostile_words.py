"""Words of users that would be code elsewhere: a live run takes them as data, or not at all."""

from types import SimpleNamespace

import pytest
from one_process import OneProcessRun
from release_fixtures import api, begin, dag_of, head_of, roll_out, template, trained, world
from small_bundles import _small_bundles, free_ports, make_bundle

from ferryman.errors import SpecError
from ferryman.ledger.ledger import Ledger
from ferryman.ledger.records import State
from ferryman.runtime.run_store import run_folder

pytestmark = pytest.mark.filterwarnings("ignore::Warning:(?!ferryman).*")

__all__ = ["_small_bundles", "api", "begin", "dag_of", "free_ports", "make_bundle", "roll_out"]
__all__ += ["template", "trained", "world"]

TEMPLATE = "{{ 7919 * 7907 * 104729 }}{% raw %}{{ ti.xcom_push(key='x', value=1) }}"
SQL = "2013-01-01'; DROP TABLE ops; UPDATE head SET version = 9; --"
# What the template would give; a short number is in some time or port by chance.
SHOWN = str(7919 * 7907 * 104729)


class Named(str):
    """An asset, as far as those go who look for its events."""

    __slots__ = ()
    name = property(str)


@pytest.fixture
def shell(tmp_path):
    """A word that makes a file where a shell reads it; the file may not be there in the end."""
    made = tmp_path / "made-by-a-shell"
    yield f"`touch {made}` $(touch {made}); touch {made} #"
    assert not made.exists()


def _start(api, pipeline, **body):
    path = f"/api/v2/dags/tiny.{pipeline}/dagRuns"
    return api.client.post(path, headers=api.olga, json={"logical_date": None, **body})


def _rendered():
    """The fields of all tasks that Airflow has rendered."""
    from airflow.models.renderedtifields import RenderedTaskInstanceFields
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        return [row.rendered_fields for row in session.scalars(select(RenderedTaskInstanceFields))]


def test_params_and_conf_of_a_rollback(api, dag_of, begin, world, shell, capfd):
    begin(version=2)
    assert head_of(world) == (2, 2)
    dag = dag_of("rollback")
    for word in (TEMPLATE, shell, SQL, "x" * 1_000_000, "ｇｏｏｄ reason"):
        answer = _start(api, "rollback", conf={"reason": word})
        assert answer.status_code in {400, 413, 422}, (word[:40], answer.text[:200])
        answer = _start(api, "rollback", conf={"reason": "a good reason", "version": word})
        assert answer.status_code in {400, 413, 422}, (word[:40], answer.text[:200])
    # Airflow takes a key that it does not know, and a newline at the end: the task refuses both.
    for conf, told in (
        ({"reason": "a good reason", TEMPLATE: shell, "image": "x:latest"}, "unknown key 'image'"),
        ({"reason": "a good reason\n"}, "param 'reason' has an illegal value"),
    ):
        run = OneProcessRun(api.client, dag, api.olga, conf)
        assert run.advance()["roll_back"] == "failed"
        log = "".join(capfd.readouterr())
        assert f"roll_back failed (exit 2): {told}" in log
        assert SHOWN not in log
    assert head_of(world) == (2, 2)
    assert all(not fields for fields in _rendered())


def test_run_ids_are_plain_names_or_stay_in_their_folder(api, dag_of, world):
    dag_of("rollback")
    known = {path.name for path in world.runs_root.parent.iterdir()}
    asked = {"conf": {"reason": "a good reason"}}
    for word in (TEMPLATE, "../../../etc/x", "x y; reboot", "$(reboot)"):
        answer = _start(api, "rollback", dag_run_id=word, **asked)
        assert answer.status_code in {400, 422}, answer.text
    for word in ("..", "x\n", "-rf", "~"):  # Airflow takes some of these
        answer = _start(api, "rollback", dag_run_id=word, **asked)
        assert answer.status_code in {200, 400, 422}, answer.text
    for word in ("..", "../..", "-rf", "~", TEMPLATE, "x\n", "a/b", "\0", "x" * 10_000):
        folder = run_folder(world.runs_root, "tiny", "rollback", word)
        assert folder.parent == world.runs_root / "tiny" / "rollback", word
        assert len(folder.name) < 256
    assert {path.name for path in world.runs_root.parent.iterdir()} == known


def test_a_viewer_starts_changes_and_answers_nothing(api, dag_of, begin, world):
    from ferryman_airflow.ui import PREFIX
    from ferryman_airflow.ui.pages import build_app

    release = begin(version=2)
    for pipeline in ("release", "rollback", "training", "maintenance"):
        dag_of(pipeline)
        path = f"/api/v2/dags/tiny.{pipeline}/dagRuns"
        body = {"logical_date": None, "conf": {"reason": "a good reason"}}
        assert api.client.post(path, headers=api.guest, json=body).status_code == 403, pipeline
    done = {"new_state": "success"}
    asked = api.client.patch(release.address("gate"), headers=api.guest, json=done)
    assert asked.status_code == 403
    paths = [route.path.replace("{model}", "tiny") for route in build_app().routes]
    assert len(paths) >= 7
    for path in paths:
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            answer = api.client.request(method, PREFIX + path, headers=api.guest)
            assert answer.status_code in {403, 404, 405}, (method, path)
    assert head_of(world) == (2, 2)


def test_an_asset_events_extra_is_a_hint_at_most(api, dag_of, trained, world, shell, capfd):
    from airflow.models.asset import AssetEvent
    from airflow.utils.session import create_session
    from sqlalchemy import select

    from ferryman_airflow.asset_events import candidate_params, retrain_params

    dag_of("release")
    listed = api.client.get("/api/v2/assets", headers=api.olga).json()["assets"]
    ids = {asset["name"]: asset["id"] for asset in listed}
    extra = {"run": "../../../etc", "reason": shell + TEMPLATE, "bundle": "/evil", "cutoff": SQL}
    names = ("tiny.candidate", "tiny.retrain")
    for name in names:
        body = {"asset_id": ids[name], "extra": extra}
        answer = api.client.post("/api/v2/assets/events", headers=api.olga, json=body)
        assert answer.status_code == 200, answer.text
    with create_session() as session:
        events = [one for one in session.scalars(select(AssetEvent)) if "bundle" in one.extra]
        assert len(events) == 2
        for event in events:
            session.expunge(event)
    candidates, retrains = (
        {Named(name): [event]} for name, event in zip(names, events, strict=True)
    )
    with pytest.raises(SpecError, match="no candidate"):
        candidate_params({"params": {}, "triggering_asset_events": candidates}, "tiny")
    run = SimpleNamespace(run_type="asset_triggered")
    context = {"params": {}, "triggering_asset_events": retrains, "dag_run": run}
    assert retrain_params(context, "tiny") == {"asked": "event"}
    assert head_of(world) == (1, 1)
    assert SHOWN not in "".join(capfd.readouterr())


def test_an_approvers_words_are_kept_as_they_are(api, begin, roll_out, world, shell):
    roll_out("rollout: {approval: {approvers: [rita, olga], answer_within: 1h}}\n")
    run = begin("rita", reason=TEMPLATE)
    words = f"{TEMPLATE} {shell} <b>bold</b>"[:500]
    assert run.answer(api.olga, "Approve", words).status_code == 200
    assert set(run.advance().values()) == {"success"}
    ledger = Ledger(world.ledger_url)
    [approved] = [row for row in ledger.history("tiny") if row.state is State.APPROVED]
    assert approved.reason == words
    assert SHOWN not in str([row.evidence for row in ledger.history("tiny")])
    assert ledger.verify() == []
    assert head_of(world) == (2, 2)
    assert all(SHOWN not in str(fields) for fields in _rendered())
