"""The monitoring page of a model: what the newest night said, escaped, and why there is nothing."""

from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from types import SimpleNamespace

import pytest

from ferryman.ledger.costs import CostTable, StepCost
from ferryman.monitoring.diagnosis import Culprit, Diagnosis
from ferryman.monitoring.groups import GroupFinding
from ferryman.monitoring.input_statistics import InputStatistics
from ferryman.monitoring.operations import Operations
from ferryman.monitoring.quality_windows import EventDay, Revisions
from ferryman.runtime.files import write_json
from ferryman.settings import load_settings

pytestmark = pytest.mark.filterwarnings("ignore::Warning:(?!ferryman).*")

PAGE = "/ferryman/models/flights/monitoring"
HOSTILE = "<script>alert(1)</script> \"' onload=alert(1) {{ 7*7 }}"


@pytest.fixture(scope="module")
def server(tmp_path_factory, airflow_api):
    """Airflow's application, its DAGs, and a header for a viewer."""
    with airflow_api(tmp_path_factory.mktemp("auth"), {"guest": "viewer"}) as client:
        from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db

        sync_bag_to_db(DagBag(), "dags-folder", None)
        body = {"username": "guest", "password": "guest-password"}
        token = client.post("/auth/token", json=body).json()["access_token"]
        yield SimpleNamespace(client=client, header={"Authorization": f"Bearer {token}"})


@pytest.fixture
def reports(server, settings_from, tmp_path, zoo, monkeypatch):
    """The folder of reports of this test's own installation, which the pages show."""
    from ferryman_airflow.ui import LazyPages

    routes = server.client.app.routes
    [mount] = [one for one in routes if isinstance(getattr(one, "app", None), LazyPages)]
    monkeypatch.setattr(mount, "app", LazyPages())
    settings_from(home=tmp_path / "home", zoo=zoo)
    return load_settings().monitoring_root / "flights" / "reports"


def page(server):
    server.client.cookies.clear()
    answer = server.client.get(PAGE, headers=server.header)
    assert answer.status_code == 200
    _check(answer.text)
    return answer.text


class _Balanced(HTMLParser):
    def __init__(self):
        super().__init__()
        self.open = []

    def handle_starttag(self, tag, attrs):
        names = {name for name, _ in attrs}
        assert not any(name.startswith("on") for name in names)
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, self.getpos()

    def handle_startendtag(self, tag, attrs):
        """An element of a picture, which closes itself."""


def _check(text):
    parser = _Balanced()
    parser.feed(text)
    parser.close()
    assert parser.open == []
    assert "://" not in text


def _day(day, value, estimate, **more):
    said = EventDay(
        day=day,
        known="2013-03-05T00:00:00Z",
        metric="log_loss",
        predicted=900,
        labelled=more.get("labelled", 890),
        settled=900,
        coverage=more.get("labelled", 890) / 900,
        value=value,
        low=None if value is None else value - 0.02,
        high=None if value is None else value + 0.02,
        estimate=estimate,
        text=more.get("text", "log_loss"),
        rows="d" * 32,
    )
    return Revisions([said], mature=value is not None).as_json()


def _slice(value, figure, outcome):
    told = None if figure is None else 0.01
    return GroupFinding(
        column="carrier",
        value=value,
        n=120,
        labelled=100,
        metric="log_loss",
        figure=figure,
        low=told,
        high=told,
        outcome=outcome,
        text=value,
        before=0.4,
    ).as_json()


def report():
    """All that monitor writes that this page shows."""
    few = "not enough labels (n=12 < 500)"
    slow = Operations(2, HOSTILE, 400, 500, 0.001, 0.3, 0.4, 1.0, "slow", "slow", ("p95",))
    column = InputStatistics("carrier", 900, 0.125, 0.0, unseen=[HOSTILE], unseen_share=0.25)
    return {
        "window": {"start": "2013-03-04T00:00:00+00:00", "end": "2013-03-05T00:00:00+00:00"},
        "quality": {"text": "log_loss 0.4021 on 6200 labels"},
        "estimate_text": "log_loss estimated at 0.4100",
        "worse": [HOSTILE],
        "slow": ["version 2 as champion: p95 is above 200 ms"],
        "events": [
            _day("2013-03-01", 0.41, 0.40),
            _day("2013-03-02", 0.43, 0.42),
            _day("2013-03-03", None, 0.44, labelled=12, text=few),
        ],
        "slices": [
            _slice("AA", 0.4, "ok"),
            _slice(HOSTILE, 0.9, "worse"),
            _slice("YV", None, "ok"),
        ],
        "groups": [_slice("(gap)", 0.2, "not_enough_labels")],
        "operations": [slow.as_json()],
        "inputs": [column.as_json()],
    }


def test_the_newest_night_is_shown_and_nothing_of_it_is_code(server, reports):
    write_json(reports / "20130303T0000Z.json", {**report(), "worse": ["an older night"]})
    write_json(reports / "20130304T0000Z.json", report())
    text = page(server)
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert" in text
    assert "an older night" not in text
    for words in (
        "2013-03-04 to 2013-03-05",
        "log_loss 0.4021 on 6200 labels",
        "log_loss estimated at 0.4100",
        "not enough labels (n=12 &lt; 500)",
        "0.41 [0.39, 0.43]",
        "98.9%",
        "300.0 ms",
        "12.5%",
        "<polyline",
    ):
        assert words in text, words
    # Newest days and worst slices come first.
    assert text.index("2013-03-03<") < text.index("2013-03-01<")
    assert text.index('class="bad">worse') < text.index(">AA<")
    linked = server.client.get("/ferryman/models/flights", headers=server.header).text
    assert 'href="flights/monitoring"' in linked


def test_the_last_alarm_is_shown_with_its_culprits_and_remedies(server, reports):
    folder = reports.parent / "diagnoses"
    write_json(reports / "20130304T0000Z.json", report())
    assert "Last alarm" not in page(server)
    unit = Culprit("column", "column temp", 0.9, "F to C", "correct it where the rows come from")
    other = Culprit("slice", HOSTILE, 0.5, HOSTILE, HOSTILE)
    run = "http://airflow.example.org/dags/flights.monitoring/runs/r1"
    said = Diagnosis("flights", "w", [HOSTILE], "the third", [unit, other], "file", run)
    write_json(folder / "20130303T0000Z.json", {**said.as_json(), "title": "an older alarm"})
    write_json(folder / "20130304T0000Z.json", said.as_json())
    text = page(server)
    assert "an older alarm" not in text
    assert "<script>alert" not in text
    for words in ("F to C", "correct it where", 'href="/dags/flights.monitoring/runs/r1"'):
        assert words in text, words
    assert text.index("column temp<") < text.index("&lt;script&gt;alert(1)", text.index("F to C"))
    nothing = Diagnosis("flights", "w", ["an alarm"], None, link="//evil.example.org/")
    write_json(folder / "20130305T0000Z.json", nothing.as_json())
    text = page(server)
    assert "Nothing changed since the training data" in text
    assert "evil" not in text
    (folder / "20130306T0000Z.json").write_text("[]")
    text = page(server)
    assert "20130306T0000Z.json is no diagnosis" in text
    assert "98.9%" in text


def test_a_model_that_was_not_monitored_and_a_damaged_report_are_told(server, reports):
    assert "Nothing was monitored yet" in page(server)
    name = f"{datetime(2013, 3, 1, tzinfo=UTC):%Y%m%dT%H%MZ}.json"
    reports.mkdir(parents=True)
    for content in ("{", "[]", "{}", '{"window": {"start": 1}}'):
        (reports / name).write_text(content)
        assert "is no report of monitor" in page(server)
    nobody = PAGE.replace("flights", "nobody")
    assert server.client.get(nobody, headers=server.header).status_code == 404


def test_what_steps_cost_has_a_page(server, reports):
    def costs():
        answer = server.client.get("/ferryman/models/flights/costs", headers=server.header)
        assert answer.status_code == 200
        return answer.text

    server.client.cookies.clear()
    assert "No step has run" in costs()
    table, now = CostTable(load_settings().ledger_url), datetime.now(UTC)
    for step, version in (("train", None), ("register", 4), (HOSTILE[:60], None)):
        cost = StepCost("flights", "r1", "training", step, "done", now, 9.0, 1800.0, 1 << 30)
        table.add(replace(cost, version=version))
    text = costs()
    for words in (
        "1.5 CPU hours",
        "training/register",
        "1800.0",
        "5400.0",
        "1024",
        "&lt;script&gt;",
    ):
        assert words in text, words
    assert "<script>alert" not in text
    linked = server.client.get("/ferryman/models/flights", headers=server.header).text
    assert 'href="flights/costs"' in linked
