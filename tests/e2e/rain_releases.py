"""The model `rain` in the running stack: trained candidates, people, and requests of users."""

import shutil
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from copy import deepcopy
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import psutil
import yaml

from ferryman.catalog import find_model
from ferryman.ledger.ledger import Ledger
from ferryman.registry.mlflow_registry import MlflowRegistry
from ferryman.runtime.endpoints import main_endpoint
from ferryman.runtime.run_store import run_folder
from ferryman.serving.client import ServingClient
from ferryman.settings import Settings
from ferryman.spec.windows import DAY, Window, format_time
from ferryman.steps.journey import Journey
from ferryman_airflow.stack.rest import AirflowApi

ZOO = Path(__file__).parents[1] / "zoo"
PEOPLE = {"rita": "op", "olga": "user", "guest": "viewer"}
FIRST_DAY = datetime(2024, 1, 1, tzinfo=UTC)
DAYS = 23
CUTOFF = format_time(FIRST_DAY + DAYS * DAY)
# A model that is none: one tree that learns nothing answers every row with the same chance.
CONSTANT = {"max_iter": 1, "learning_rate": 1e-6}
# The gate lets a constant pass, so that the traffic has to find it.
DECLARED = {
    "gates": {
        "thresholds": {"log_loss": {"max": 2.0}},
        "champion": {"require": "no_worse", "margin": 2.0},
        "min_rows": 200,
        "resamples": 200,
    },
    "rollout": {
        "strategy": "canary",
        "approval": {"approvers": ["rita", "olga"], "answer_within": "1h"},
        "stages": [
            {"weight": 0.3, "hold": "3s", "patience": "120s"},
            {"weight": 0.6, "hold": "3s", "patience": "120s"},
        ],
        "limits": {"errors": 0.3, "latency": 20.0, "shift": 0.4, "min_requests": 40},
    },
}


def declare(zoo: Path, rain: Path, **changed: Any) -> Path:
    """Write the declaration of `rain` with its rollout; the file."""
    folder = zoo / "rain"
    if not folder.is_dir():
        shutil.copytree(rain, folder)
    text = yaml.safe_load((rain / "model.yaml").read_text())
    text = {**text, **deepcopy(DECLARED)}
    for path, value in changed.items():
        part = text
        *parents, last = path.split("__")
        for name in parents:
            part = part[name]
        part[last] = value
    file = folder / "model.yaml"
    file.write_text(yaml.safe_dump(text))
    return file


def until(
    condition: Callable[[], Any],
    timeout: float = 90.0,
    pause: float = 0.2,
    told: Callable[[], Any] = str,
) -> Any:
    """What a condition gives once it is true; fails after so many seconds, with what is told."""
    deadline = time.monotonic() + timeout
    while not (found := condition()):
        assert time.monotonic() < deadline, f"waited in vain {told()}"
        time.sleep(pause)
    return found


def process_of(stack: Any, dag: str, run_id: str, task: str) -> psutil.Process | None:
    """The process in which a task runs now; its parent supervises it. None where there is none."""
    known = [one["id"] for one in stack.api.tasks(dag, run_id) if one["task_id"] == task]
    for process in psutil.Process(stack.process.pid).children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if known and f"airflow worker -- {known[0]}" in process.cmdline():
                return process
    return None


@dataclass(frozen=True)
class Answer:
    """What a user got, and when (monotonic seconds)."""

    at: float
    row: int
    status: int
    variant: str
    version: str
    score: float


class Users:
    """Requests to the public port, each of another entity, at least one."""

    def __init__(self, settings: Settings, rows: list[dict[str, Any]], pause: float = 0.02) -> None:
        self.answers: list[Answer] = []
        self._stop = threading.Event()
        self._settings, self._rows, self._pause = settings, rows, pause
        self._thread = threading.Thread(target=self._ask, daemon=True)

    def __enter__(self) -> "Users":
        self._thread.start()
        until(lambda: self.answers, pause=0.01)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def failed(self) -> list[Answer]:
        """Answers that were no 200."""
        return [one for one in self.answers if one.status != 200]

    def _ask(self) -> None:
        number = 0
        with httpx.Client(base_url=self._settings.serving_url, trust_env=False) as http:
            while not self._stop.wait(self._pause):
                number += 1
                row = number % len(self._rows)
                self.answers.append(_ask_one(http, row, self._rows[row], f"user {number}"))


def _ask_one(http: httpx.Client, row: int, values: dict[str, Any], entity: str) -> Answer:
    path, body = "/v1/models/rain:predict", {"instances": [values]}
    try:
        answer = http.post(path, json=body, headers={"x-entity-key": entity})
    except httpx.TransportError as error:
        return Answer(time.monotonic(), row, 0, type(error).__name__, "", 0.0)
    good = answer.status_code == 200
    return Answer(
        time.monotonic(),
        row,
        answer.status_code,
        answer.headers.get("x-model-variant", ""),
        answer.headers.get("x-model-version", ""),
        float(answer.json()["predictions"][0]) if good else 0.0,
    )


class RainReleases:
    """`rain` in a stack: its ledger, its server, and what people do by REST."""

    def __init__(self, stack: Any, frame: Any, rain: Path) -> None:
        self.settings: Settings = stack.settings
        self.stack = stack
        self.rain = rain
        self.ledger = Ledger(self.settings.ledger_url)
        self.rows = [
            {key: None if value != value else value for key, value in row.items()}  # noqa: PLR0124
            for row in frame[["station", "sky", "humidity", "clouds"]].head(60).to_dict("records")
        ]

    def ingest(self) -> None:
        """Publish all days."""
        window = Window(start=FIRST_DAY, end=FIRST_DAY + DAYS * DAY)
        model = find_model(self.settings.zoo, "rain")
        for _ in Journey(self.settings, model).run("ingest", window=window):
            pass

    def train(self, name: str, zoo: Path, **params: float) -> str:
        """Train and register a candidate with other parameters; the name of the run's folder."""
        declare(zoo, self.rain, train__params=params)
        journey = Journey(self.settings, find_model(zoo, "rain"))
        for _ in journey.run("training", run_id=name, params={"cutoff": CUTOFF}):
            pass
        return run_folder(self.settings.runs_root, "rain", "training", name).name

    def versions(self) -> set[int]:
        """The numbers of the versions that are registered."""
        return {one.version for one in self.registered()}

    def registered(self) -> list[Any]:
        """The versions that are registered."""
        registry = MlflowRegistry(self.settings.mlflow_uri, self.settings.mlflow_artifacts)
        return list(registry.versions("rain"))

    def api(self, person: str) -> Any:
        """Airflow as somebody who is logged in; to be closed."""
        return closing(self.stack.api_of(person))

    def begin(self, run_id: str, trained: str, person: str = "rita") -> None:
        """Start a release as a person."""
        with self.api(person) as api:
            assert api.trigger("rain.release", run_id, {"run": trained})

    def state(self, run_id: str, task: str) -> str:
        """The state of a task."""
        tasks = self.stack.api.tasks("rain.release", run_id)
        return next(str(one["state"]) for one in tasks if one["task_id"] == task)

    def states(self, run_id: str) -> dict[str, str]:
        """The state of each task of a run that has ended, by task."""
        api: AirflowApi = self.stack.api
        path = ("rain.release", run_id)
        ended = ("success", "failed")
        until(lambda: api.run(*path)["state"] in ended, 150, told=lambda: api.tasks(*path))
        return {str(one["task_id"]): str(one["state"]) for one in api.tasks(*path)}

    def asked(self, run_id: str) -> None:
        """Wait until somebody is asked, and Airflow has seen the end of the process that asked.

        No person is faster; a program is, and the scheduler takes that end for the answer's.
        """
        until(lambda: self.state(run_id, "approve") in ("awaiting_input", "failed"))
        log = self.stack.stack.logs / "scheduler.log"
        ended = f"TaskInstance Finished: dag_id=rain.release, task_id=approve, run_id={run_id},"
        until(lambda: ended in log.read_text())

    def question(self, run_id: str, person: str) -> dict[str, Any]:
        """What a person is shown."""
        with self.api(person) as api:
            return dict(api.call("GET", self._details(run_id)).json())

    def answer(self, run_id: str, person: str, option: str = "Approve") -> int:
        """Answer as a person does; the status."""
        body = {"chosen_options": [option], "params_input": {"reason": f"{option}: I have read it"}}
        with self.api(person) as api:
            given = api.call(
                "PATCH", self._details(run_id), json=body, ok=(200, 403, 404, 409, 422)
            )
            return int(given.status_code)

    def share(self) -> float:
        """The weight that the server gives a candidate now."""
        with ServingClient(main_endpoint(self.settings)) as client:
            state = client.traffic("rain")
        return state.traffic.weight if state else 0.0

    def served(self) -> tuple[int, int]:
        """Epoch and version of a prediction at the public port."""
        url = f"{self.settings.serving_url}/v1/models/rain:predict"
        answer = httpx.post(url, json={"instances": self.rows[:1]}, trust_env=False)
        headers = answer.headers
        return int(headers["x-model-epoch"]), int(headers["x-model-version"])

    def head(self) -> tuple[int, int]:
        """Epoch and version in the ledger."""
        head = self.ledger.head("rain")
        assert head is not None
        return head.epoch, head.version

    def _details(self, run_id: str) -> str:
        run = f"/api/v2/dags/rain.release/dagRuns/{run_id}"
        return f"{run}/taskInstances/approve/-1/hitlDetails"
