"""A served version begins to fail, and nobody is there: an alert rolls it back, once.

Server, Prometheus, two Alertmanagers and Airflow are real, with rules and configurations as they
are shipped. The tests share one stack with the others; the model is their own.
"""

import time
from datetime import UTC, datetime

import pytest
from mist_releases import NAME, POLYNOMIALS, ROLLBACK, TREES, Mist, Stations, watched
from rain_releases import until
from rollback_world import alert_channel
from services import alertmanager, prometheus

from ferryman.ledger import records
from ferryman.steps.roll_back import Asked, roll_back

pytestmark = [
    pytest.mark.timeout(1800),
    pytest.mark.filterwarnings("ignore::Warning:(?!ferryman).*"),
    pytest.mark.skipif(not prometheus.is_installed(), reason=prometheus.MISSING),
    pytest.mark.skipif(not alertmanager.is_installed(), reason=alertmanager.MISSING),
]

ALERT = "FerrymanVersionErrors"


@pytest.fixture(scope="module")
def mist(stack):
    """Two versions: trees, and then polynomials, which have passed every gate and are served."""
    found = Mist(stack)
    found.declare(*TREES)
    found.ingest()
    found.release(*TREES)
    found.release(*POLYNOMIALS)
    assert found.head() == (2, 2)
    until(lambda: stack.api.has_dag(ROLLBACK), timeout=300)
    stack.api.unpause(ROLLBACK)
    return found


@pytest.fixture(scope="module")
def people(stack, mist):
    """What the channel of the model's people takes."""
    with alert_channel() as (url, received):
        made = {"connection_id": f"{NAME}_people", "conn_type": "generic", "host": url}
        stack.api.call("POST", "/api/v2/connections", json=made)
        yield received
        stack.api.call("DELETE", f"/api/v2/connections/{NAME}_people", ok=(204,))


@pytest.fixture(scope="module")
def watch(stack, mist, people, tmp_path_factory):
    with watched(stack, tmp_path_factory.mktemp("watch")) as found:
        until(found.targets_up, timeout=180)
        yield found


def test_a_version_that_begins_to_fail_is_rolled_back_by_its_alert_once(
    mist, watch, people, record_property
):
    with Stations(mist.settings) as stations:
        time.sleep(10)  # two scrapes of a version that is well
        assert {(one.status, one.version) for one in stations.answers} == {(200, "2")}
        stations.broken.set()
        began = time.monotonic()
        until(lambda: stations.answers[-1].version == "1", timeout=400, told=watch.firing)
        record_property("seconds from the first failure to the version before", _since(began))
        until(lambda: _told(people, "resolved"), timeout=240, told=watch.firing)
        record_property("seconds from the first failure to the end of the alert", _since(began))
    [run] = mist.runs()
    assert mist.ended(run["dag_run_id"]) == "success"
    # What users saw: the broken station alone was without an answer, and now has one.
    failed = [one for one in stations.answers if one.status != 200]
    assert {(one.status, one.version, one.is_filled) for one in failed} == {(500, "2", True)}
    after = [one for one in stations.answers if one.number > failed[-1].number + 10]
    assert {(one.status, one.version) for one in after} == {(200, "1")}
    assert any(one.is_filled for one in after)
    # What began the run, and what it did.
    assert run["dag_run_id"].startswith("alert__")
    assert run["triggering_user_name"] == "alertmanager"
    reason = f"alert {ALERT}: Version 2 of {NAME} fails to answer"
    assert run["conf"] == {"reason": reason, "epoch": 2}
    assert mist.head() == (3, 1)
    [row] = [one for one in _history(mist) if _is_commit_of_a_rollback(one)]
    assert (row.candidate.version, row.base_epoch) == (1, 2)
    assert (row.actor, row.reason) == ("alertmanager", reason)
    [note] = mist.ledger.notes(NAME, records.ALERT)
    assert (note.actor, note.evidence["run_id"]) == ("alertmanager", run["dag_run_id"])
    assert note.evidence["remedy"] == "rollback"
    assert mist.ledger.verify() == []
    # Both Alertmanagers posted; people were told once, and of nothing else.
    assert [failed for _, failed in watch.sent()] == [0, 0]
    assert all(posted >= 2 for posted, _ in watch.sent())
    assert [one["alert"] for one in people if "Errors" in one["alert"]] == [ALERT, ALERT]
    [told] = _told(people, "firing")
    assert told["title"] == f"FIRING: Version 2 of {NAME} fails to answer"
    assert watch.firing() == set()


def test_the_alert_again_and_one_that_comes_too_late_begin_nothing(mist, watch):
    before = (mist.head(), len(_history(mist)))
    [run] = mist.runs()
    _, fingerprint, moment = run["dag_run_id"].split("__")
    at = datetime.strptime(moment, "%Y%m%dT%H%M%S.%fZ").replace(tzinfo=UTC)
    again = _outcome(watch, fingerprint, at, version="2")
    assert (again["outcome"], again["run_id"]) == ("already", run["dag_run_id"])
    late = _outcome(watch, fingerprint, datetime.now(UTC), version="2")
    said = "it is about version '2', and version 1 is served by now"
    assert (late["outcome"], late["text"], late["run_id"]) == ("ignored", said, "")
    assert len(mist.runs()) == 1
    assert (mist.head(), len(_history(mist))) == before


def test_where_a_person_was_faster_than_the_run_it_changes_nothing_and_says_so(stack, mist, watch):
    pipeline, params = POLYNOMIALS
    mist.release(pipeline, {**params, "C": 0.2})
    assert mist.head() == (4, 3)
    stack.api.call("PATCH", f"/api/v2/dags/{ROLLBACK}", json={"is_paused": True})
    labels = {"alertname": ALERT, "model": NAME, "version": "3", "remedy": "rollback"}
    told = {"summary": f"Version 3 of {NAME} fails to answer"}
    now = datetime.now(UTC).isoformat()
    for manager in watch.managers:
        manager.post({"labels": labels, "annotations": told, "startsAt": now})
    until(lambda: len(mist.runs()) == 2, timeout=120)
    newest, _ = mist.runs()
    assert (newest["state"], newest["conf"]["epoch"]) == ("queued", 4)
    roll_back(mist.settings, NAME, Asked("rita", "stations get no answers"))
    before = len(_history(mist))
    assert mist.head() == (5, 1)
    stack.api.unpause(ROLLBACK)
    assert mist.ended(newest["dag_run_id"]) == "success"
    said = stack.api.result(ROLLBACK, newest["dag_run_id"], "roll_back")
    assert said["verdict"] == "not_needed"
    assert said["text"].startswith("already rolled back to version 1 (epoch 5); name a version")
    assert (mist.head(), len(_history(mist))) == ((5, 1), before)
    assert mist.ledger.verify() == []


def _since(began):
    return round(time.monotonic() - began, 1)


def _told(people, status):
    return [one for one in people if one["alert"] == ALERT and one["status"] == status]


def _history(mist):
    return list(mist.ledger.history(NAME))


def _is_commit_of_a_rollback(row):
    return row.kind == records.ROLLBACK and row.state is records.State.COMMITTED


def _outcome(watch, fingerprint, starts_at, **labels):
    """What the receiver says to a message of one firing alert."""
    alert = {
        "status": "firing",
        "labels": {"alertname": ALERT, "model": NAME, "remedy": "rollback", **labels},
        "annotations": {},
        "startsAt": starts_at.isoformat(),
        "fingerprint": fingerprint,
    }
    message = {"version": "4", "status": "firing", "groupKey": "{}", "alerts": [alert]}
    answer = watch.hook(message)
    assert answer.status_code == 200, answer.text
    [outcome] = answer.json()["alerts"]
    return outcome
