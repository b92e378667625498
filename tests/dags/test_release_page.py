"""The Models page on releases: what serves, what waits, and a button that goes back."""

from html.parser import HTMLParser
from types import SimpleNamespace

import pytest

from ferryman.ledger.ledger import Ledger
from ferryman.ledger.records import PROMOTE, Candidate, State
from ferryman.settings import load_settings

pytestmark = pytest.mark.filterwarnings("ignore::Warning:(?!ferryman).*")

PAGE = "/ferryman/models/flights"
HOSTILE = "<script>alert(1)</script> \"' onload=alert(1) {{ 7*7 }}"


@pytest.fixture(scope="module")
def server(tmp_path_factory, airflow_api):
    """Airflow's application, its DAGs, and a header for each user."""
    users = {"admin": "admin", "guest": "viewer"}
    with airflow_api(tmp_path_factory.mktemp("auth"), users) as client:
        from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db

        sync_bag_to_db(DagBag(), "dags-folder", None)
        tokens = {}
        for name in users:
            body = {"username": name, "password": f"{name}-password"}
            tokens[name] = client.post("/auth/token", json=body).json()["access_token"]
        yield SimpleNamespace(client=client, tokens=tokens)


@pytest.fixture
def ledger(server, settings_from, tmp_path, zoo, monkeypatch):
    """An empty ledger of this test's own installation, which the pages show."""
    from ferryman_airflow.ui import LazyPages

    routes = server.client.app.routes
    [mount] = [one for one in routes if isinstance(getattr(one, "app", None), LazyPages)]
    monkeypatch.setattr(mount, "app", LazyPages())
    settings_from(home=tmp_path / "home", zoo=zoo)
    return Ledger(load_settings().ledger_url)


def _open(ledger, version, reason="nightly training of all days", *, approval=False):
    candidate = Candidate(
        version=version,
        digest=f"{version:064x}",
        bundle=f"/bundles/{version}",
        cutoff=f"2013-03-0{version}T00:00:00Z",
        sequence=version,
        run_key=f"key-{version}",
        eval_dataset="e",
    )
    op = ledger.open_op(PROMOTE, "flights", candidate, "airflow", reason)
    base = head.epoch if (head := ledger.head("flights")) else 0
    ledger.advance(op.op_id, State.REGISTERED, {}, base_epoch=0)
    requires = {"approval": approval, "exposure": False}
    told = {"outcome": "passed", "text": f"better: {HOSTILE}", "requires": requires}
    ledger.advance(op.op_id, State.GATED, told, base_epoch=base)
    ledger.advance(op.op_id, State.STAGED, {}, base_epoch=base)
    return op, base


def _release(ledger, version, reason="nightly training of all days"):
    op, base = _open(ledger, version, reason)
    ledger.commit(op.op_id, base)
    for state in (State.PROJECTED, State.DONE):
        ledger.advance(op.op_id, state, {})


def _page(server, user="guest"):
    server.client.cookies.clear()
    header = {"Authorization": f"Bearer {server.tokens[user]}"}
    answer = server.client.get(PAGE, headers=header)
    assert answer.status_code == 200
    return answer


class _Elements(HTMLParser):
    """Every element with its attributes."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


def _elements(text, tag):
    parser = _Elements()
    parser.feed(text)
    return [attributes for name, attributes in parser.found if name == tag]


def test_before_any_release_the_page_says_so(server, ledger):
    assert ledger.head("flights") is None
    assert "No version serves yet" in _page(server).text


def test_champion_good_versions_and_the_ledgers_rows_are_told(server, ledger):
    for version in (1, 2):
        _release(ledger, version)
    page = _page(server, "admin").text
    for words in (
        "version 2 (epoch 2)",
        "data up to 2013-03-02 00:00 UTC",
        "Roll back to 1",
        "promote: DONE",
    ):
        assert words in page
    assert "Roll back to 2" not in page
    [form] = [one for one in _elements(page, "form") if "data-rollback" in one]
    assert form["data-rollback"] == "../../api/v2/dags/flights.rollback/dagRuns"
    assert form["data-epoch"] == "2"
    buttons = [one for one in _elements(page, "button") if "data-version" in one]
    assert [one["data-version"] for one in buttons] == ["1"]


def test_who_may_not_roll_back_sees_the_versions_and_no_button(server, ledger):
    for version in (1, 2):
        _release(ledger, version)
    page = _page(server, "guest").text
    assert f"{1:064x}" in page
    assert "You may not start" in page
    for tag in ("button", "form", "input", "dialog"):
        assert _elements(page, tag) == []


def test_a_version_that_waits_for_an_approver_links_to_the_question(server, ledger):
    _release(ledger, 1)
    op, base = _open(ledger, 2, approval=True)
    link = "../../dags/flights.release/required_actions?response_received=false"
    assert link in [one.get("href") for one in _elements(_page(server).text, "a")]
    ledger.decide(
        op.op_id,
        base_epoch=base,
        digest=f"{2:064x}",
        approved=True,
        actor="olga",
        requester="rita",
        reason="looks as it should",
    )
    page = _page(server).text
    assert "waits for an approval" not in page
    assert "looks as it should" in page


def test_a_share_and_what_its_stages_found_are_told(server, ledger):
    _release(ledger, 1)
    op, base = _open(ledger, 2)
    lease = ledger.take_lease("flights", op.op_id, "test", 60)
    ledger.advance(op.op_id, State.EXPOSED, {}, base_epoch=base)
    ledger.set_traffic(
        op.op_id,
        serial=lease.serial,
        stage=0,
        variant="canary",
        weight=0.05,
        reason="the stage begins",
        evidence={},
        lease_seconds=45,
    )
    page = _page(server).text
    assert "version 2 as canary: 5 % of the requests" in page
    assert "traffic: 5 % of the requests" in page
    assert "Newest rollout" in page
    assert "the stage begins" in page


def test_a_quarantine_names_the_version_that_it_bars(server, ledger):
    for version in (1, 2):
        _release(ledger, version)
    ledger.quarantine("flights", f"{1:064x}", why="its answers were wrong", actor="olga")
    [row] = [one for one in _page(server).text.split("<tr>") if "quarantine" in one]
    assert '<td class="number">1</td><td>olga</td>' in row


def test_what_people_and_data_say_is_escaped(server, ledger):
    _release(ledger, 1, f"because {HOSTILE}")
    _release(ledger, 2)
    page = _page(server)
    assert "<script>alert" not in page.text
    assert "&lt;script&gt;alert" in page.text
    assert "{{ 7*7 }}" in page.text
    assert [one for one in _elements(page.text, "script") if "src" not in one] == []
    assert not any("onload" in one for one in _elements(page.text, "td"))
    policy = page.headers["content-security-policy"]
    assert "script-src 'self'" in policy
    assert "connect-src 'self'" in policy
    assert "unsafe-eval" not in policy


def test_a_ledger_that_cannot_be_read_is_told(server, ledger):
    _release(ledger, 1)
    file = load_settings().home / "ledger.db"
    files = [file] if file.is_file() else list(load_settings().home.rglob("*ledger*.db"))
    for one in files:
        one.write_bytes(b"no database at all" * 100)
    assert files
    page = _page(server).text
    assert "ledger" in page
    assert "flights.ingest" in page


def test_the_button_is_one_call_of_airflows_own_api_with_the_users_cookie(server, ledger):
    for version in (1, 2):
        _release(ledger, version)
    path = "/api/v2/dags/flights.rollback/dagRuns"
    body = {
        "logical_date": None,
        "conf": {"version": 1, "epoch": 2, "reason": "wrong answers seen"},
    }
    client = server.client
    client.cookies.clear()
    assert client.post(path, json=body).status_code == 401
    client.cookies.set("_token", server.tokens["guest"])
    assert client.post(path, json=body).status_code == 403
    client.cookies.set("_token", server.tokens["admin"])
    answer = client.post(path, json=body)
    assert answer.status_code == 200, answer.text
    assert answer.json()["conf"] == body["conf"]
    assert answer.json()["triggering_user_name"] == "admin"
    client.cookies.clear()
    headers = {"Authorization": f"Bearer {server.tokens['admin']}"}
    assert client.get("/api/v2/dags/flights.rollback", headers=headers).json()["is_paused"] is False
