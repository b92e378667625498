"""Every query of every panel of the shipped dashboards finds something in a real Prometheus."""

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from dashboard_files import NAMES, dashboard, filled, metrics_in, queries
from dashboard_pictures import draw, save
from dashboard_world import (
    live_on,
    make_costs,
    make_runs,
    past_with_profiles,
    prometheus_config,
    watched,
)
from line_candidates import LINE
from services import prometheus
from services.application import served_application
from services.request_load import RequestLoad
from small_bundles import _small_bundles, make_bundle

__all__ = ["_small_bundles", "make_bundle"]

pytestmark = [
    pytest.mark.filterwarnings("ignore::Warning:(?!ferryman).*"),
    pytest.mark.timeout(600),
    pytest.mark.skipif(not prometheus.is_installed(), reason=prometheus.MISSING),
]

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
_INTERVAL = 10  # seconds of a rate
VALUES = {
    "model-metrics": {"model": "tiny"},
    "serving": {
        "server": "main",
        "model": LINE,
        "version": ".*",
        "__rate_interval": f"{_INTERVAL}s",
    },
    "pipeline-runs": {"dag": ".*"},
}
_PATIENCE = 60.0  # seconds until every query finds something


class Watched:
    """A Prometheus that has read everything, since when it reads, and the server's load."""

    def __init__(self, client: httpx.Client, loads: list[RequestLoad]) -> None:
        self.url, self.since, self.loads = str(client.base_url), time.time(), loads
        self._client = client

    def ask(self, query: str) -> list[Any]:
        """The samples that a query finds now."""
        answer = self._client.get("/api/v1/query", params={"query": query})
        assert answer.status_code == 200, f"{query}: {answer.text}"
        found: list[Any] = answer.json()["data"]["result"]
        return found

    def names(self) -> set[str]:
        """Every metric that was ever read."""
        return set(self._client.get("/api/v1/label/__name__/values").json()["data"])


@pytest.fixture(scope="module")
def seen(
    airflow_api: Any, make_bundle: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Watched]:
    from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db

    from ferryman.settings import load_settings
    from ferryman_airflow.ui import LazyAlerts

    folder = tmp_path_factory.mktemp("dashboards")
    past = past_with_profiles(folder, make_bundle, range(7, 8))
    make_costs(past.settings)
    with pytest.MonkeyPatch.context() as patch, airflow_api(folder, {"admin": "admin"}) as client:
        patch.setenv("FERRYMAN_HOME", str(past.settings.home))
        patch.setenv("FERRYMAN_ZOO", str(past.settings.zoo))
        load_settings.cache_clear()
        [mount] = [
            one for one in client.app.routes if isinstance(getattr(one, "app", None), LazyAlerts)
        ]
        patch.setattr(mount, "app", LazyAlerts())
        sync_bag_to_db(DagBag(), "dags-folder", None)
        assert client.get("/ferryman-alerts/metrics").status_code == 401
        login = {"username": "admin", "password": "admin-password"}
        token = client.post("/auth/token", json=login).json()["access_token"]
        make_runs(client, {"Authorization": f"Bearer {token}"})
        shipped = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
        file = past.settings.home / "alerts" / "alerts.token"
        with served_application(client.app) as airflow:

            def config(server: str) -> Any:
                return prometheus_config(shipped, server, airflow, file)

            with (
                watched(folder, config) as (running, loads),
                httpx.Client(base_url=running.url, trust_env=False, timeout=20) as asking,
            ):
                found = Watched(asking, loads)
                live_on(past, range(8, 13), found.ask)
                _await_all(found)
                yield found
    load_settings.cache_clear()


def _await_all(seen: Watched) -> None:
    """Until every query has samples, or patience ends: then the tests say which has none."""
    deadline = time.monotonic() + _PATIENCE
    asked = [(n, one.expr) for n in NAMES for one in queries(dashboard(n))]
    while time.monotonic() < deadline:
        asked = [(n, expr) for n, expr in asked if not seen.ask(filled(expr, VALUES[n]))]
        if not asked:
            # Rates are of a whole interval.
            time.sleep(max(0.0, seen.since + _INTERVAL + 2 - time.time()))
            return
        time.sleep(1)


@pytest.mark.parametrize("name", NAMES)
def test_no_panel_is_empty(seen: Watched, name: str) -> None:
    asked = list(queries(dashboard(name)))
    assert len(asked) > 12
    empty = [one for one in asked if not seen.ask(filled(one.expr, VALUES[name]))]
    assert empty == []


@pytest.mark.parametrize("name", NAMES)
def test_every_metric_that_a_panel_names_exists(seen: Watched, name: str) -> None:
    known = seen.names()
    for one in queries(dashboard(name)):
        assert metrics_in(one.expr) <= known, one


@pytest.mark.parametrize("name", NAMES)
def test_variables_offer_something(seen: Watched, name: str) -> None:
    for variable in dashboard(name)["templating"]["list"]:
        if variable["type"] != "query":
            continue
        inner = variable["definition"].removeprefix("label_values(").removesuffix(")")
        selector, _, label = inner.rpartition(", ")
        samples = seen.ask(filled(selector, VALUES[name]))
        offered = {one["metric"][label] for one in samples}
        wanted = VALUES[name][variable["name"]]
        assert offered and (wanted == ".*" or wanted in offered)


def test_the_counts_by_version_grow_as_the_load_does(seen: Watched) -> None:
    read = seen.ask(f'ferryman_version_seconds_count{{model="{LINE}"}}[{_INTERVAL}s]')
    counted: Counter[float] = Counter()
    for series in read:
        counted.update({at: float(value) for at, value in series["values"]})
    since, until = min(counted), max(counted)
    assert until - since > _INTERVAL / 2
    answered = sum(load.between(since, until) for load in seen.loads)
    assert counted[until] - counted[since] == pytest.approx(answered, rel=0.05)
    by_version = seen.ask("sum by (version) (ferryman_version_seconds_count)")
    assert {one["metric"]["version"] for one in by_version} == {"1", "7"}


def test_an_alarm_of_drift_and_the_outcomes_of_slices_and_groups_are_seen(seen: Watched) -> None:
    assert seen.ask('ferryman_monitored_drift_alarm{model="tiny"} == 1')
    found = seen.ask('ferryman_monitored_drift_findings{outcome="alarm"} > 0')
    assert "previous" in {one["metric"]["kind"] for one in found}
    judged = seen.ask('sum by (part) (ferryman_monitored_parts{outcome=~"ok|worse"}) > 0')
    assert {one["metric"]["part"] for one in judged} == {"slices", "groups"}


@pytest.mark.parametrize("name", NAMES)
def test_pictures_can_be_made(seen: Watched, name: str, tmp_path: Path) -> None:
    file = tmp_path / f"{name}.png"
    save(draw(seen.url, name, VALUES[name], (seen.since, time.time())), file)
    assert 5_000 < file.stat().st_size < 150_000
