"""Alertmanager's messages in Airflow's own API server: who may, what starts, and how often."""

import json
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
import yaml
from rollback_world import alert_channel
from services import alertmanager
from services.application import served_application

pytestmark = [
    pytest.mark.filterwarnings("ignore::Warning:(?!ferryman).*"),
    pytest.mark.timeout(300),
]

ROOT = Path(__file__).resolve().parents[2]
PATH = "/ferryman-alerts/alertmanager"


@pytest.fixture(scope="module")
def server(airflow_api, tmp_path_factory):
    """Airflow's application with the plugin, and this project's DAGs in its tables."""
    with airflow_api(tmp_path_factory.mktemp("api"), {"admin": "admin"}) as client:
        from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db

        sync_bag_to_db(DagBag(), "dags-folder", None)
        yield client


@pytest.fixture
def channel():
    """The address of the channel `alerts`, and what came there."""
    with alert_channel() as made:
        yield made


@pytest.fixture
def hook(server, settings_from, tmp_path, zoo, monkeypatch, channel):
    """A client, and the headers that open the receiver of this test's own installation."""
    from ferryman.settings import load_settings
    from ferryman_airflow.ui import LazyAlerts

    file = zoo / "flights" / "model.yaml"
    text = yaml.safe_load(file.read_text())
    text.setdefault("monitor", {})["alerts"] = {"remedies": ["monitoring", "rollback"]}
    file.write_text(yaml.safe_dump(text))
    settings_from(home=tmp_path / "home", zoo=zoo, connection_alerts=channel[0])
    monkeypatch.setattr(_mount(server), "app", LazyAlerts())
    assert server.get("/ferryman-alerts/metrics").status_code == 401  # it is built now
    token = (load_settings().home / "alerts" / "alerts.token").read_text().strip()
    return server, {"Authorization": f"Bearer {token}"}


def _mount(server):
    """The receiver's place in Airflow's application."""
    from ferryman_airflow.ui import LazyAlerts

    [mount] = [one for one in server.app.routes if isinstance(_app_of(one), LazyAlerts)]
    return mount


def _app_of(route):
    return getattr(route, "app", None)


def _alert(fingerprint, remedy="monitoring", model="flights", status="firing", **labels):
    return {
        "status": status,
        "labels": {"alertname": "Stale", "model": model, "remedy": remedy, **labels},
        "annotations": {"summary": "flights is not watched", "description": "no report"},
        "startsAt": "2013-02-01T08:00:00.5Z",
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "http://127.0.0.1:9090/graph",
        "fingerprint": fingerprint,
    }


def _message(*alerts, status="firing"):
    head = {"version": "4", "status": status, "groupKey": "{}:{}", "receiver": "ferryman"}
    return {**head, "truncatedAlerts": 0, "alerts": list(alerts)}


def _runs(dag):
    from airflow.models.dagrun import DagRun

    return [run for run in DagRun.find(dag_id=dag) if run.run_id.startswith("alert__")]


def _notes():
    from ferryman.ledger.ledger import Ledger
    from ferryman.ledger.records import ALERT
    from ferryman.settings import load_settings

    ledger = Ledger(load_settings().ledger_url)
    assert ledger.verify() == []
    return ledger.notes("flights", ALERT)


def test_ten_messages_of_one_alert_start_one_run_and_tell_people_once(hook, channel):
    (client, headers), (_, told) = hook, channel
    body = _message(_alert("aa01"))
    answers = [client.post(PATH, json=body, headers=headers) for _ in range(10)]
    resolved = _message(_alert("aa01", status="resolved"), status="resolved")
    answers.append(client.post(PATH, json=resolved, headers=headers))
    assert [answer.status_code for answer in answers] == [200] * 11
    outcomes = [one["outcome"] for answer in answers for one in answer.json()["alerts"]]
    assert outcomes == ["started"] + ["already"] * 9
    [run] = _runs("flights.monitoring")
    assert run.run_id == "alert__aa01__20130201T080000.500000Z"
    assert (run.triggering_user_name, run.state) == ("alertmanager", "queued")
    [note] = _notes()
    assert (note.actor, note.evidence["run_id"]) == ("alertmanager", run.run_id)
    assert [one["title"] for one in told] == [
        "FIRING: flights is not watched",
        "RESOLVED: flights is not watched",
    ]
    assert told[0]["text"] == "flights is not watched. no report"
    again = _alert("aa01") | {"startsAt": "2013-02-02T08:00:00Z"}
    answer = client.post(PATH, json=_message(again), headers=headers)
    assert [one["outcome"] for one in answer.json()["alerts"]] == ["started"]  # it fired anew


def test_a_restart_of_the_server_forgets_no_alert(hook, channel, monkeypatch):
    from ferryman.settings import load_settings
    from ferryman_airflow.ui import LazyAlerts

    (client, headers), (_, told) = hook, channel
    body = _message(_alert("ff01"))

    def post():
        answer = client.post(PATH, json=body, headers=headers)
        return [one["outcome"] for one in answer.json()["alerts"]]

    assert post() == ["started"]
    monkeypatch.setattr(_mount(client), "app", LazyAlerts())  # what it held in memory is gone
    assert post() == ["already"]
    assert [one["title"] for one in told] == ["FIRING: flights is not watched"]
    assert len(_notes()) == 1
    [mark] = (load_settings().home / "alerts" / "told").iterdir()
    os.utime(mark, (1, 1))  # Alertmanager's reminder, hours later
    assert post() == ["already"]
    assert len(told) == 2


def test_two_alertmanagers_that_post_at_one_moment_start_one_run_of_one_note(hook):
    client, headers = hook
    body, together = _message(_alert("ab01")), threading.Barrier(6)

    def post(_):
        together.wait()
        return client.post(PATH, json=body, headers=headers).json()["alerts"][0]["outcome"]

    with ThreadPoolExecutor(6) as pool:
        outcomes = list(pool.map(post, range(6)))
    assert sorted(outcomes) == ["already"] * 5 + ["started"]
    assert len([run for run in _runs("flights.monitoring") if "__ab01__" in run.run_id]) == 1
    assert len(_notes()) == 1


def test_only_what_the_model_allows_is_started(hook):
    client, headers = hook
    alerts = [
        _alert("bb01", remedy="none"),
        _alert("bb02", remedy="flights.release"),
        _alert("bb03", remedy="maintenance"),
        _alert("bb04", model="nobody"),
        _alert("bb05", model="other", remedy="rollback"),
        _alert("bb06", model="../flights"),
        _alert("bb07", alertname="{{ 7 * 7 }} <script>"),
        {**_alert("bb08"), "labels": {}},
    ]
    answer = client.post(PATH, json=_message(*alerts), headers=headers)
    assert answer.status_code == 200
    outcomes = {one["fingerprint"]: one for one in answer.json()["alerts"]}
    started = {name for name, one in outcomes.items() if one["outcome"] == "started"}
    assert started == {"bb07"}
    assert {one["outcome"] for one in outcomes.values()} == {"started", "ignored"}
    assert outcomes["bb03"]["text"] == "flights leaves maintenance to people " + (
        "(monitor.alerts.remedies)"
    )
    assert outcomes["bb07"]["text"] == "alert 7 7 <script>: flights is not watched"
    assert _runs("flights.maintenance") == _runs("other.rollback") == []


def test_only_the_version_that_an_alert_is_about_is_rolled_back(hook):
    from ledger_world import release

    from ferryman.ledger.ledger import Ledger
    from ferryman.settings import load_settings

    client, headers = hook
    ledger = Ledger(load_settings().ledger_url)

    def post(fingerprint, **labels):
        body = _message(_alert(fingerprint, remedy="rollback", **labels))
        [outcome] = client.post(PATH, json=body, headers=headers).json()["alerts"]
        return outcome["outcome"], outcome["text"]

    assert post("ee01", version="7") == ("ignored", "nothing of flights is released")
    assert release(ledger, 7).epoch == 1
    assert post("ee02")[0] == "ignored"
    why = "it is about epoch '2', and epoch 1 is served by now"
    assert post("ee03", version="7", epoch="2") == ("ignored", why)
    assert _runs("flights.rollback") == []
    assert post("ee04", version="7")[0] == "started"
    [run] = _runs("flights.rollback")
    assert run.conf == {"reason": "alert Stale: flights is not watched", "epoch": 1}
    release(ledger, 8)
    # It goes on firing: its run is known, and a second alert about the same version starts none.
    assert post("ee04", version="7")[0] == "already"
    why = "it is about version '7', and version 8 is served by now"
    assert post("ee05", version="7") == ("ignored", why)
    assert len(_runs("flights.rollback")) == 1
    assert [note.evidence["run_id"] for note in _notes()] == [run.run_id]


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"no json", 400),
        (b"[]", 400),
        (json.dumps({**_message(), "version": "5"}).encode(), 400),
        (json.dumps(_message({"status": "firing"})).encode(), 400),
        (json.dumps(_message(_alert("../../x"))).encode(), 400),
        (json.dumps(_message({**_alert("cc"), "startsAt": "2013-02-01T08:00:00"})).encode(), 400),
        (b'{"version": "4", "x": "' + b"x" * (1 << 20) + b'"}', 413),
        (json.dumps(_message()).encode(), 200),
    ],
)
def test_a_body_that_is_no_message_starts_nothing(hook, content, status):
    client, headers = hook
    before = len(_runs("flights.monitoring"))
    answer = client.post(PATH, content=content, headers=headers)
    assert answer.status_code == status, answer.text
    assert len(_runs("flights.monitoring")) == before


def test_nothing_is_said_without_the_token_of_alerts(hook):
    client, headers = hook
    login = {"username": "admin", "password": "admin-password"}
    user = client.post("/auth/token", json=login).json()["access_token"]
    for given in ({}, {"Authorization": "Bearer x"}, {"Authorization": f"Bearer {user}"}):
        for method, path in (("POST", PATH), ("GET", "/ferryman-alerts/metrics"), ("GET", PATH)):
            assert client.request(method, path, headers=given).status_code == 401
    client.cookies.clear()
    assert client.get("/api/v2/dags", headers=headers).status_code == 403  # it opens nothing else
    assert client.get("/ferryman-alerts/x", headers=headers).status_code == 404


def test_what_cannot_be_started_is_asked_for_again(hook, monkeypatch):
    from airflow.models.dag import DagModel

    client, headers = hook
    body = _message(_alert("dd01"))
    with monkeypatch.context() as patch:
        patch.setattr(DagModel, "get_current", lambda *_, **__: None)  # not read yet by Airflow
        answer = client.post(PATH, json=body, headers=headers)
        assert answer.status_code == 503, answer.text
    answer = client.post(PATH, json=body, headers=headers)
    assert [one["outcome"] for one in answer.json()["alerts"]] == ["started"]


def test_the_installation_tells_its_figures(hook):
    from prometheus_client.parser import text_string_to_metric_families

    client, headers = hook
    page = client.get("/ferryman-alerts/metrics", headers=headers).text
    found = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }
    assert found[("ferryman_ledger_problems",)] == 0
    assert 0 < found[("ferryman_disk_free_bytes",)] < found[("ferryman_disk_size_bytes",)]
    assert found["ferryman_airflow_alive", "metadatabase"] == 1
    assert found["ferryman_airflow_alive", "scheduler"] == 0  # none runs in this test
    assert found["ferryman_airflow_pool_slots", "default_pool", "total"] > 0


@pytest.mark.skipif(not alertmanager.is_installed(), reason=alertmanager.MISSING)
def test_a_real_alertmanager_starts_exactly_one_run(hook, tmp_path):
    client, headers = hook
    token = tmp_path / "token"
    token.write_text(headers["Authorization"].removeprefix("Bearer "))
    config = yaml.safe_load((ROOT / "deploy" / "alertmanager" / "alertmanager.yml").read_text())
    config["route"] |= {"group_wait": "1s", "group_interval": "1s", "repeat_interval": "1s"}
    with served_application(client.app) as address:
        [webhook] = config["receivers"][0]["webhook_configs"]
        webhook["url"] = f"http://{address}{PATH}"
        webhook["http_config"]["authorization"]["credentials_file"] = str(token)
        with alertmanager.Alertmanager(tmp_path / "am", config) as sender:
            now = datetime.now(UTC).isoformat()
            labels = {"alertname": "FerrymanMonitoringStale", "model": "flights"}
            sender.post({"labels": {**labels, "remedy": "monitoring"}, "startsAt": now})
            deadline = time.monotonic() + 60
            while _sent(sender) < 4 and time.monotonic() < deadline:
                time.sleep(0.2)
            assert _sent(sender) >= 4
    runs = [run for run in _runs("flights.monitoring") if "__2013" not in run.run_id]
    assert len(runs) == 1
    assert [note.evidence["run_id"] for note in _notes()] == [runs[0].run_id]


def _sent(sender):
    """How many notifications Alertmanager has sent, of which none failed."""
    with httpx.Client(trust_env=False, timeout=5) as asking:
        lines = asking.get(f"http://{sender.address}/metrics").text.splitlines()
    counts = {line.split()[0]: float(line.split()[1]) for line in lines if line.startswith("al")}
    kind = '{integration="webhook"}'
    assert counts.get(f"alertmanager_notifications_failed_total{kind}", 0) == 0
    return counts.get(f"alertmanager_notifications_total{kind}", 0)
