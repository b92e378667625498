"""The Models page in Airflow's own API server application, with Airflow's own tokens."""

import json
import subprocess
import sys
from datetime import UTC, datetime
from html.parser import HTMLParser

import pytest

pytestmark = pytest.mark.filterwarnings("ignore::Warning:(?!ferryman).*")

DOCS = "/ferryman/models/flights/data_docs"


@pytest.fixture(scope="module")
def passwords(tmp_path_factory):
    file = tmp_path_factory.mktemp("auth") / "passwords.json"
    file.write_text(json.dumps({"admin": "a-password", "guest": "g-password"}))
    return file


@pytest.fixture(scope="module")
def server(passwords, load_dags_once):
    """Airflow's application with the plugin mounted, and its tables."""
    from airflow.api_fastapi.app import create_app, purge_cached_app
    from fastapi.testclient import TestClient

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS", "admin:admin,guest:viewer")
        patch.setenv("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE", str(passwords))
        patch.setenv("AIRFLOW__API_AUTH__JWT_SECRET", "a-secret-of-these-tests-" + "0" * 40)
        purge_cached_app()
        with TestClient(create_app(apps="core"), base_url="http://127.0.0.1") as client:
            yield client
        purge_cached_app()


@pytest.fixture(scope="module")
def load_dags_once():
    """The DAGs of this project, written to Airflow's database."""
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
    from airflow.utils.db import initdb

    initdb()
    DagBundlesManager().sync_bundles_to_db()
    sync_bag_to_db(DagBag(), "dags-folder", None)


@pytest.fixture
def client(server, settings_from, tmp_path, zoo, monkeypatch):
    """A client that is not logged in, over pages of this test's own installation."""
    from ferryman_airflow.ui import LazyPages

    settings_from(home=tmp_path / "home", zoo=zoo)
    [mount] = [route for route in server.app.routes if isinstance(_app_of(route), LazyPages)]
    monkeypatch.setattr(mount, "app", LazyPages())
    server.cookies.clear()
    return server


def _app_of(route):
    return getattr(route, "app", None)


def _token(client, user):
    body = {"username": user, "password": f"{user[0]}-password"}
    answer = client.post("/auth/token", json=body)
    assert answer.status_code == 201, answer.text
    return {"Authorization": f"Bearer {answer.json()['access_token']}"}


@pytest.fixture
def ingested(client, tmp_path):
    """One published day of flights, validated, with its Data Docs."""
    from ferryman.settings import load_settings
    from ferryman.spec.loader import load_model
    from ferryman.spec.windows import day_window
    from ferryman.steps.journey import Journey

    settings = load_settings()
    window = day_window(datetime(2013, 2, 1, tzinfo=UTC))
    journey = Journey(settings, load_model(settings.zoo / "flights"))
    list(journey.run("ingest", window=window, run_id="by hand"))
    [run] = (settings.runs_root / "flights" / "ingest").iterdir()
    return run


class _Balanced(HTMLParser):
    """Every element that is opened is closed, in order."""

    VOID = frozenset({"meta", "br", "link", "img", "input", "hr"})

    def __init__(self):
        super().__init__()
        self.open = []

    def handle_starttag(self, tag, attrs):  # noqa: ARG002
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, self.getpos()


def _check_html(text):
    parser = _Balanced()
    parser.feed(text)
    parser.close()
    assert parser.open == []


def test_every_route_answers_401_without_a_token(client):
    from ferryman_airflow.ui import PREFIX
    from ferryman_airflow.ui.pages import build_app

    routes = build_app().routes
    assert len(routes) == 9
    paths = [route.path.replace("{", "").replace("}", "").replace(":path", "") for route in routes]
    for path in [*paths, "/", "/docs", "/openapi.json", "/redoc", "/models/flights/x"]:
        for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"):
            answer = client.request(method, PREFIX + path, follow_redirects=False)
            assert answer.status_code == 401, (method, path)
            assert "flights" not in answer.text
    forged = {"Authorization": "Bearer abc.def.ghi"}
    assert client.get(f"{PREFIX}/models", headers=forged).status_code == 403


def test_the_pages_tell_of_a_models_data(client, ingested):
    seen = _token(client, "guest")
    listed = client.get("/ferryman/models", headers=seen)
    assert listed.status_code == 200
    assert 'href="models/flights"' in listed.text
    assert "2013-02-01" in listed.text
    page = client.get("/ferryman/models/flights", headers=seen).text
    for words in ("operations-research", "2013-02-01", "flights.ingest", "flights.release", "met"):
        assert words in page
    for text in (listed.text, page):
        _check_html(text)
        assert "://" not in text
    link = page.partition('href="flights/data_docs/')[2].partition('"')[0]
    docs = client.get(f"{DOCS}/{link}", headers=seen)
    assert docs.status_code == 200
    _check_html(docs.text)
    policy = docs.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src" not in policy
    assert docs.headers["x-content-type-options"] == "nosniff"
    day = client.get(f"{DOCS}/{ingested.name}/2013-02-01.html", headers=seen)
    assert day.status_code == 200
    assert "ExpectColumnValuesToBeBetween" not in day.text or "failed" in day.text
    script = client.get("/ferryman/frame.js", headers=seen)
    assert script.headers["content-type"].startswith("text/javascript")


def test_a_model_without_data_and_a_wrong_declaration_are_told(client, zoo):
    (zoo / "other" / "model.yaml").write_text("spec_version: <b>1</b>\n")
    admin = _token(client, "admin")
    page = client.get("/ferryman/models/flights", headers=admin).text
    assert "No window is published yet" in page
    assert "No window was validated yet" in page
    listed = client.get("/ferryman/models", headers=admin).text
    assert "none yet" in listed
    assert client.get("/ferryman/models/nobody", headers=admin).status_code == 404
    assert "<b>1</b>" not in listed


def test_what_a_declaration_says_is_escaped(client, zoo):
    file = zoo / "flights" / "model.yaml"
    file.write_text(file.read_text().replace("Will a flight", "<script>alert(1)</script> Will"))
    admin = _token(client, "admin")
    for path in ("/ferryman/models", "/ferryman/models/flights"):
        text = client.get(path, headers=admin).text
        assert "<script>alert" not in text
        assert "&lt;script&gt;alert" in text


def test_data_docs_are_served_from_their_folder_alone(client, ingested, tmp_path):
    admin = _token(client, "admin")
    folder = ingested / "validate" / "data_docs"
    (folder / "notes.json").write_text("{}")
    (folder / "escape.html").symlink_to("/etc/passwd")
    (folder.parent / "beside.html").write_text("beside")
    (ingested.parent / "linked-0").mkdir()
    (ingested.parent / "linked-0" / "validate").symlink_to(ingested / "validate")
    run = ingested.name
    assert client.get(f"{DOCS}/{run}/index.html", headers=admin).status_code == 200
    for path in (
        f"{run}/notes.json",
        f"{run}/escape.html",
        f"{run}/../beside.html",
        f"{run}/%2e%2e/beside.html",
        f"{run}/..%2fbeside.html",
        f"{run}/%2Fetc%2Fpasswd",
        f"{run}/index.html%00",
        f"{run}/",
        "../flights/index.html",
        "%2e%2e/index.html",
        "./index.html",
        "linked-0/index.html",
        f"{run}%0A/index.html",
        "nobody/index.html",
    ):
        answer = client.get(f"{DOCS}/{path}", headers=admin)
        assert answer.status_code == 404, path
        assert "root:" not in answer.text


def _reported(run_id):
    """A finished training, as far as its pages go."""
    from ferryman.runtime.messages import StepRequest, StepResult
    from ferryman.runtime.run_store import run_folder, store_result
    from ferryman.settings import load_settings

    run = run_folder(load_settings().runs_root, "flights", "training", run_id)
    request = StepRequest(
        model="flights", step="report", run_id=run_id, run_uri=str(run), spec_digest="0"
    )
    (run / "report").mkdir(parents=True)
    for name in ("report", "card"):
        (run / "report" / f"{name}.html").write_text(f"<p>the {name}</p>")
    (run / "report" / "explanation.json").write_text("{}")
    (run / "beside.html").write_text("beside")
    result = StepResult(
        model="flights", step="report", request_digest=request.digest, outputs={"version": 41}
    )
    store_result(request, result)
    return run


def test_reports_are_listed_and_served_alone(client):
    run = _reported("by <hand>")
    seen = _token(client, "guest")
    page = client.get("/ferryman/models/flights", headers=seen).text
    _check_html(page)
    assert ">41<" in page
    for name in ("report", "card"):
        address = f"flights/reports/{run.name}/{name}.html"
        assert f'href="{address}"' in page
        answer = client.get(f"/ferryman/models/{address}", headers=seen)
        assert answer.status_code == 200
        assert f"the {name}" in answer.text
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "img-src 'self' data:" in policy
        assert "script-src" not in policy
    (run.parent / "linked-0").mkdir()
    (run.parent / "linked-0" / "report").symlink_to(run / "report")
    for path in (
        f"{run.name}/explanation.json",
        f"{run.name}/result.json",
        f"{run.name}/..%2fbeside.html",
        f"{run.name}/",
        "linked-0/report.html",
        "../report.html",
        "nobody/report.html",
    ):
        answer = client.get(f"/ferryman/models/flights/reports/{path}", headers=seen)
        assert answer.status_code == 404, path


def test_the_labels_of_the_newest_training_are_told(client):
    from ferryman.data.versions.dataset_catalogue import DatasetCatalogue, DatasetEntry
    from ferryman.runtime.local_object_store import LocalObjectStore
    from ferryman.runtime.messages import StepRequest, StepResult
    from ferryman.runtime.run_store import run_folder, store_result
    from ferryman.settings import load_settings
    from ferryman.spec.windows import day_window

    settings = load_settings()
    day = datetime(2013, 2, 1, tzinfo=UTC)
    entry = DatasetEntry(
        id="d" * 64,
        model="flights",
        role="train",
        cutoff=day,
        event_window=day_window(day),
        rows=9,
        label="late",
        class_shares={"<early>": 0.25, "late": 0.75},
        windows=1,
        table_schema={},
    )
    DatasetCatalogue(LocalObjectStore(settings.data_root)).record(entry)
    folder = run_folder(settings.runs_root, "flights", "training", "a")
    request = StepRequest(
        model="flights", step="train", run_id="a", run_uri=str(folder), spec_digest="0"
    )
    outputs = {"train_dataset": entry.id}
    done = StepResult(model="flights", step="train", request_digest=request.digest, outputs=outputs)
    seen = _token(client, "guest")
    assert "newest training" not in client.get("/ferryman/models/flights", headers=seen).text
    store_result(request, done)
    page = client.get("/ferryman/models/flights", headers=seen).text
    assert "newest training rows: late 75.0%, &lt;early&gt; 25.0%" in page


def test_the_task_links_to_its_pages(client):
    from types import SimpleNamespace

    from ferryman_airflow.links import links_of

    run = _reported("r/1")
    operator = SimpleNamespace(declared=SimpleNamespace(name="flights"))
    named = {link.name: link for link in links_of("report")}
    for name, page in (("Report", "report"), ("Model card", "card")):
        there = named[name].get_link(operator, ti_key=SimpleNamespace(run_id="r/1"))
        assert there.endswith(f"/ferryman/models/flights/reports/{run.name}/{page}.html")
        other = named[name].get_link(operator, ti_key=SimpleNamespace(run_id="r/2"))
        assert other == ""


def test_a_broken_store_is_told_on_the_page(client, ingested):
    from ferryman.settings import load_settings

    root = load_settings().data_root / "flights" / "windows"
    [file] = root.rglob("1.json")
    file.write_text("{")
    answer = client.get("/ferryman/models/flights", headers=_token(client, "admin"))
    assert answer.status_code == 200
    assert "windows/20130201T0000Z/1.json" in answer.text
    assert "flights.ingest" in answer.text


def test_nobody_but_the_server_imports_a_server(tmp_path):
    program = (
        "import runpy, sys\n"
        "import airflow.plugins_manager\n"
        "before = set(sys.modules)\n"
        "found = runpy.run_path('plugins/ferryman_plugin.py')['FerrymanPlugin']\n"
        "assert found.external_views[0]['href'].endswith('/ferryman/models')\n"
        "late = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
        "assert not late & {'fastapi', 'starlette', 'jinja2', 'pyarrow', 'pandas'}, late\n"
        "assert 'ferryman_airflow.ui.pages' not in sys.modules\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr[-2000:]
