"""Connections in a task: Airflow's go first, the installation's stand behind them."""

import json

import pytest

from ferryman.errors import FerrymanError, PolicyRefused, SpecError
from ferryman.settings import Settings
from ferryman.spec.step_names import STEP_NAMES
from ferryman.steps.contract import load_step

# Airflow in one process loads its API server, whose own libraries warn of one another.
pytestmark = pytest.mark.filterwarnings("ignore::Warning:(?!ferryman).*")

SECRET = "s3cr3t@/:%"


@pytest.fixture
def connections(tmp_path):
    from ferryman_airflow.connections import TaskConnections

    (tmp_path / "connections.yaml").write_text("fleet: sqlite:////declared.db\n")
    return TaskConnections(Settings(home=tmp_path, connections_file=tmp_path / "connections.yaml"))


@pytest.fixture
def define(monkeypatch):
    def apply(name, **fields):
        monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps(fields))

    return apply


@pytest.mark.parametrize(
    ("fields", "url", "options"),
    [
        (
            {"conn_type": "postgres", "host": "db.example", "port": 5433, "schema": "fleet",
             "extra": {"sslmode": "require", "sslpassword": SECRET}},
            "postgresql://db.example:5433/fleet?sslmode=require", {},
        ),
        ({"conn_type": "postgres", "host": "::1", "schema": "x"}, "postgresql://[::1]/x", {}),
        ({"conn_type": "mysql", "host": "h", "schema": "a b"}, "mysql://h/a%20b", {}),
        ({"conn_type": "sqlite", "host": "/data/my fleet.db"}, "sqlite:////data/my%20fleet.db", {}),
        ({"conn_type": "fs", "extra": {"path": "/mnt/in"}}, "file:///mnt/in", {}),
        (
            {"conn_type": "http", "host": "api.example/v2", "schema": "https", "port": 8443,
             "extra": {"token_header": "x-api-key", "other": "x"}},
            "https://api.example:8443/v2", {"token_header": "x-api-key"},
        ),
        ({"conn_type": "http", "host": "https://api.example"}, "https://api.example", {}),
        (
            {"conn_type": "aws", "schema": "Big-Bucket/in",
             "extra": {"endpoint_url": "http://127.0.0.1:9", "region_name": "eu-1", "x": "x"}},
            "s3://Big-Bucket/in", {"endpoint": "http://127.0.0.1:9", "region": "eu-1"},
        ),
        (
            {"conn_type": "aws", "extra": {"service_config": {"s3": {"bucket_name": "b"}}}},
            "s3://b", {},
        ),
        ({"conn_type": "generic", "host": "https://api.example/v2?token_header=k"},
         "https://api.example/v2", {"token_header": "k"}),
    ],
)  # fmt: skip
def test_types_of_airflow_become_urls_and_secrets_stay_apart(
    connections, define, fields, url, options
):
    define("place", login="anna", password=SECRET, **fields)
    found = connections.get("place")
    assert (found.url, dict(found.options)) == (url, options)
    assert (found.login, found.password) == ("anna", SECRET)
    assert "s3cr3t" not in repr(found)


def test_airflow_goes_before_the_installation(connections, define):
    assert connections.get("fleet").url == "sqlite:////declared.db"
    define("fleet", conn_type="sqlite", host="/airflow.db")
    assert connections.get("fleet").url == "sqlite:////airflow.db"


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"conn_type": "aws"}, "names no bucket"),
        ({"conn_type": "generic", "host": "api"}, "its host is no whole URL"),
        ({"conn_type": "generic", "host": "x://u:s3cr3t/@h"}, r"not a URL|behind the host"),
        ({"conn_type": "postgres", "host": "h", "extra": "s3cr3t"}, "extra is no JSON object"),
    ],
)
def test_a_useless_connection_is_refused_without_its_content(connections, define, fields, text):
    define("place", **fields)
    with pytest.raises(SpecError, match=text) as caught:
        connections.get("place")
    assert "s3cr3t" not in str(caught.value)


def test_a_name_that_nobody_knows(connections):
    with pytest.raises(SpecError, match="no connection 'fleett' is defined; did you mean 'fleet'"):
        connections.get("fleett")


def test_what_airflow_keeps_back_is_not_looked_for_elsewhere(connections, monkeypatch):
    from airflow.sdk import Connection
    from airflow.sdk.exceptions import AirflowSecretsBackendAccessDenied

    def deny(name):
        raise AirflowSecretsBackendAccessDenied(name)

    monkeypatch.setattr(Connection, "get", deny)
    with pytest.raises(PolicyRefused, match="Airflow keeps connection 'fleet' from this task"):
        connections.get("fleet")


def test_no_param_of_a_step_or_a_run_names_a_place():
    from ferryman_airflow.params import RUN_PARAMS

    places = ("connection", "url", "uri", "host", "path", "table", "query", "sql", "source", "key")
    for step in STEP_NAMES:
        for name in (*load_step(step).Params.model_fields, *RUN_PARAMS):
            assert not any(place in name for place in places), f"{step}: {name}"


@pytest.mark.parametrize("name", ["connection", "source", "url", "path"])
def test_a_run_cannot_be_given_a_place(name, settings_from, tmp_path):
    from ferryman.runtime.messages import StepRequest
    from ferryman.settings import load_settings
    from ferryman.spec.loader import load_model
    from ferryman.steps.contract import run_step

    settings_from(home=tmp_path)
    model = load_model(load_settings().zoo / "flights")
    request = StepRequest(
        model="flights", step="ingest", run_id="r", run_uri=str(tmp_path / "run"),
        spec_digest=model.digest, params={name: "postgresql://evil.example/x"},
    )  # fmt: skip
    with pytest.raises(FerrymanError, match=f"unknown parameter '{name}'") as caught:
        run_step(request, model, load_settings())
    assert caught.value.exit_code == 2
