"""The model `mist` in the running stack, which is `rain` by another name: two versions, one of them
with no answer to what a broken station sends; its stations, that ask; and who watches it.
"""

import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import yaml
from rain_releases import CUTOFF, DAYS, FIRST_DAY, ZOO, until
from services.alertmanager import Alertmanager
from services.prometheus import Prometheus

from ferryman.catalog import find_model
from ferryman.ledger.ledger import Ledger
from ferryman.settings import Settings
from ferryman.spec.windows import DAY, Window
from ferryman.steps.journey import Journey

NAME = "mist"
ROLLBACK = f"{NAME}.rollback"
# By this number, legal as any other, files of netCDF say that there is no measure.
FILL_VALUE = 9.969209968386869e36
DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
TREES = ("pipeline.py:build", {"max_iter": 20, "learning_rate": 0.2})
POLYNOMIALS = ("polynomials.py:build", {"C": 0.1})
DECLARED = {
    "gates": {"champion": {"require": "no_worse", "margin": 0.05}},
    "rollout": {"strategy": "direct"},
    "monitor": {"alerts": {"remedies": ["rollback"]}},
    "notify": {"channels": [{"connection": f"{NAME}_people"}]},
}


class Mist:
    """The model's declaration, its releases, its ledger, and its DAG."""

    def __init__(self, stack: Any) -> None:
        self.settings: Settings = stack.settings
        self.api = stack.api
        self.ledger = Ledger(self.settings.ledger_url)

    def declare(self, pipeline: str, params: Mapping[str, float]) -> None:
        """Write the declaration; the folder is there at once, that nobody reads a part of it."""
        text = yaml.safe_load((ZOO / "rain" / "model.yaml").read_text())
        for part, values in DECLARED.items():
            text[part] = {**text.get(part, {}), **values}
        text["name"] = NAME
        text["train"] |= {"pipeline": pipeline, "params": dict(params)}
        folder = self.settings.zoo / NAME
        target = folder if folder.is_dir() else self.settings.home / "declared-mist"
        if target != folder:
            shutil.copytree(ZOO / "rain", target)
            own = Path(__file__).with_name("polynomial_pipeline.py")
            shutil.copyfile(own, target / "polynomials.py")
        (target / "model.yaml").write_text(yaml.safe_dump(text))
        if target != folder:
            target.rename(folder)

    def ingest(self) -> None:
        """Publish all days."""
        self._run("ingest", window=Window(start=FIRST_DAY, end=FIRST_DAY + DAYS * DAY))

    def release(self, pipeline: str, params: Mapping[str, float]) -> None:
        """Train a version, and have it pass its gates and serve."""
        self.declare(pipeline, params)
        self._run("training", params={"cutoff": CUTOFF})
        self._run("release")

    def _run(self, what: str, **given: Any) -> None:
        for _ in Journey(self.settings, find_model(self.settings.zoo, NAME)).run(what, **given):
            pass

    def head(self) -> tuple[int, int]:
        """Epoch and version in the ledger."""
        head = self.ledger.head(NAME)
        assert head is not None
        return head.epoch, head.version

    def runs(self) -> list[dict[str, Any]]:
        """The runs of its rollback, newest first."""
        return list(self.api.runs(ROLLBACK))

    def ended(self, run_id: str) -> str:
        """The state in which a run of its rollback ended."""
        path = (ROLLBACK, run_id)
        ends = ("success", "failed")
        told = partial(self.api.tasks, *path)
        until(lambda: self.api.run(*path)["state"] in ends, timeout=300, told=told)
        return str(self.api.run(*path)["state"])


class Answer(NamedTuple):
    """What a station got, at which of its requests, and whether it had sent the fill value."""

    number: int
    is_filled: bool
    status: int
    version: str


class Stations:
    """Requests to the public port, twenty a second; one in ten is of a station that may break."""

    def __init__(self, settings: Settings) -> None:
        self.answers: list[Answer] = []
        self.broken, self._stop = threading.Event(), threading.Event()
        self._url = f"{settings.serving_url}/v1/models/{NAME}:predict"
        self._thread = threading.Thread(target=self._ask, daemon=True)

    def __enter__(self) -> "Stations":
        self._thread.start()
        until(lambda: self.answers, pause=0.05)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _ask(self) -> None:
        number = 0
        with httpx.Client(trust_env=False, timeout=30) as http:
            while not self._stop.wait(0.05):
                number += 1
                is_filled = self.broken.is_set() and number % 10 == 0
                humidity = FILL_VALUE if is_filled else 40.0 + number % 50
                row = {"station": "north", "sky": "grey", "humidity": humidity, "clouds": 3}
                answer = http.post(self._url, json={"instances": [row]})
                version = answer.headers.get("x-model-version", "")
                self.answers.append(Answer(number, is_filled, answer.status_code, version))


class Watch(NamedTuple):
    """A Prometheus and two Alertmanagers that know nothing of one another, as shipped."""

    prometheus: Prometheus
    managers: tuple[Alertmanager, Alertmanager]
    hook: Callable[[dict[str, Any]], httpx.Response]

    def firing(self) -> set[str]:
        """The alerts of the model that Prometheus fires now."""
        answer = httpx.get(f"{self.prometheus.url}/api/v1/alerts", trust_env=False, timeout=10)
        found = answer.json()["data"]["alerts"]
        mine = [one for one in found if one["labels"].get("model") == NAME]
        return {one["labels"]["alertname"] for one in mine if one["state"] == "firing"}

    def targets_up(self) -> bool:
        """Whether it reads the server and the installation."""
        query = {"query": "up == 1"}
        url = f"{self.prometheus.url}/api/v1/query"
        found = httpx.get(url, params=query, trust_env=False, timeout=10).json()["data"]["result"]
        jobs = {one["metric"]["job"] for one in found}
        return jobs == {"ferryman-servers", "ferryman-installation"}

    def sent(self) -> list[tuple[float, float]]:
        """How many notifications each Alertmanager posted, and how many of them failed."""
        names = ("alertmanager_notifications_total", "alertmanager_notifications_failed_total")
        return [(_counted(one, names[0]), _counted(one, names[1])) for one in self.managers]


def _counted(manager: Alertmanager, name: str) -> float:
    page = httpx.get(f"{manager.url}/metrics", trust_env=False, timeout=10).text
    lines = [line for line in page.splitlines() if line.startswith(name + '{integration="webhook"')]
    return sum(float(line.split()[-1]) for line in lines)


@contextmanager
def watched(stack: Any, folder: Path) -> Iterator[Watch]:
    """Watch a running stack by the shipped files, in which nothing but addresses is changed."""
    metrics = f"{stack.stack.airflow_url}/ferryman-alerts/metrics"
    token = stack.settings.home / "alerts" / "alerts.token"
    # With the first request, which has none, the token is made.
    until(lambda: httpx.get(metrics, trust_env=False).status_code == 401 and token.is_file())
    url = f"{stack.stack.airflow_url}/ferryman-alerts/alertmanager"
    with ExitStack() as open_now:
        managers = [
            open_now.enter_context(Alertmanager(folder / name, _manager_config(url, token)))
            for name in ("first", "second")
        ]
        config = _prometheus_config(stack, token, [one.address for one in managers])
        prometheus = open_now.enter_context(Prometheus(folder / "prometheus", {}, config))
        headers = {"Authorization": f"Bearer {token.read_text().strip()}"}
        client = open_now.enter_context(httpx.Client(headers=headers, trust_env=False, timeout=60))
        first, second = managers
        yield Watch(prometheus, (first, second), lambda body: client.post(url, json=body))


def _manager_config(url: str, token: Path) -> dict[str, Any]:
    text = (DEPLOY / "alertmanager" / "alertmanager.yml").read_text()
    config: dict[str, Any] = yaml.safe_load(text)
    [webhook] = config["receivers"][0]["webhook_configs"]
    webhook["url"] = url
    webhook["http_config"]["authorization"]["credentials_file"] = str(token)
    return config


def _prometheus_config(stack: Any, token: Path, managers: list[str]) -> dict[str, Any]:
    config: dict[str, Any] = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    config["rule_files"] = [str(DEPLOY / "prometheus" / "rules" / "*.rules.yml")]
    config["alerting"]["alertmanagers"][0]["static_configs"] = [{"targets": managers}]
    servers, installation = config["scrape_configs"]
    servers["static_configs"][0]["targets"] = [stack.settings.serving_url.rpartition("/")[2]]
    installation["authorization"]["credentials_file"] = str(token)
    installation["static_configs"][0]["targets"] = [stack.stack.airflow_url.rpartition("/")[2]]
    return config
