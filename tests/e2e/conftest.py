"""One running stack for all tests here: free ports, a home of its own, real processes."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from rain_releases import DAYS, PEOPLE, ZOO, declare

from ferryman.runtime.ports import free_ports
from ferryman.settings import Settings
from ferryman_airflow.stack.airflow_config import read_password
from ferryman_airflow.stack.rest import AirflowApi
from ferryman_airflow.stack.settings import StackSettings

if TYPE_CHECKING:
    import pandas as pd

READY_WITHIN = 1200.0  # seconds, where the machine is busy and several models fail; else 90


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The file that ends the stack comes last."""
    items.sort(key=lambda item: "test_life_of_flights" in item.nodeid)


@dataclass
class RunningStack:
    """The launcher's process, what it printed, and a client for its Airflow."""

    process: subprocess.Popen[bytes]
    environment: dict[str, str]
    output: Path
    settings: Settings
    stack: StackSettings
    api: AirflowApi

    def api_of(self, user: str) -> AirflowApi:
        """A client of another login; to be closed."""
        return AirflowApi(self.stack.airflow_url, user, read_password(self.stack, user))

    def command(self, name: str) -> subprocess.CompletedProcess[str]:
        """Run another stack command beside the launcher."""
        return subprocess.run(
            [sys.executable, "-m", "ferryman_airflow.stack", name],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    def begin_backfill(
        self, dag: str, days: Sequence[datetime], max_active_runs: int, again: str = "none"
    ) -> str:
        """Have a backfill of these days begin: "", or the words with which Airflow refuses it.

        On SQLite it may refuse one for the moment with 503, and yet have begun it.
        """
        first, last = days[0].isoformat(), days[-1].isoformat()
        body = {"dag_id": dag, "from_date": first, "to_date": last, "reprocess_behavior": again}
        body |= {"max_active_runs": max_active_runs}
        for _ in range(20):
            answer = self.api.call(
                "POST", "/api/v2/backfills", json=body, ok=(200, 201, 409, 422, 503)
            )
            if answer.status_code == 422:
                return str(answer.json()["detail"])
            if answer.status_code in (200, 201) or self.open_backfills(dag):
                return ""
            time.sleep(1)  # the lock is another's
        raise AssertionError(answer.text)

    def open_backfills(self, dag: str) -> list[dict[str, Any]]:
        """Its backfills that are not done."""
        found = self.api.call("GET", "/api/v2/backfills", params={"dag_id": dag}).json()
        return [one for one in found["backfills"] if not one["completed_at"]]

    def pid_of(self, name: str) -> int:
        """The pid of one of the launcher's processes."""
        entries = json.loads(self.stack.state_file.read_bytes())["processes"]
        return next(int(entry["pid"]) for entry in entries if entry["name"] == name)

    def processes(self) -> list[psutil.Process]:
        """The living processes that the state file names."""
        state = self.stack.state_file
        entries = json.loads(state.read_bytes())["processes"] if state.is_file() else []
        pids = [entry["pid"] for entry in entries]
        return [psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)]


@pytest.fixture(scope="session")
def stack(
    tmp_path_factory: pytest.TempPathFactory, rain_hours: Callable[..., "pd.DataFrame"]
) -> Iterator[RunningStack]:
    """`make run` in a fresh home, at the moment when it says that all is done.

    Beside `flights`, which it carries to serving, its zoo has `rain`, of which nothing ran yet.
    """
    home = tmp_path_factory.mktemp("stack")
    airflow, mlflow, serving, admin = free_ports(4)
    project = Settings()
    shutil.copytree(project.zoo / "flights", home / "zoo" / "flights")
    shutil.copytree(project.source_root, home / "sources")
    declare(home / "zoo", ZOO / "rain")
    (home / "sources" / "rain").mkdir()
    rain_hours(DAYS).to_parquet(home / "sources" / "rain" / "hours_2024-01.parquet")
    values = {
        "home": home / "ferryman",
        "zoo": home / "zoo",
        "source_root": home / "sources",
        "further_users": ",".join(f"{name}:{role}" for name, role in PEOPLE.items()),
        "airflow_home": home / "airflow",
        "airflow_port": airflow,
        "mlflow_port": mlflow,
        "serving_port": serving,
        "serving_admin_port": admin,
    }
    environment = {**os.environ, **{f"FERRYMAN_{k.upper()}": str(v) for k, v in values.items()}}
    settings = Settings(
        home=home / "ferryman",
        zoo=home / "zoo",
        source_root=home / "sources",
        serving_port=serving,
        serving_admin_port=admin,
    )
    stack_settings = StackSettings(airflow_home=home / "airflow", airflow_port=airflow)
    output = home / "output.txt"
    with output.open("wb") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "ferryman_airflow.stack", "up"],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _wait_for(process, output)
        api = AirflowApi(stack_settings.airflow_url, "admin", read_password(stack_settings))
        with closing(api):
            yield RunningStack(process, environment, output, settings, stack_settings, api)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=90)


def _wait_for(process: subprocess.Popen[bytes], output: Path) -> None:
    deadline = time.monotonic() + READY_WITHIN
    while "Ctrl-C ends everything" not in output.read_text():
        assert process.poll() is None, output.read_text()
        assert time.monotonic() < deadline, output.read_text()
        time.sleep(0.5)
