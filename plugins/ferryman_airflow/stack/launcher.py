"""Starts the stack's processes, watches over them, and ends them."""

import contextlib
import fcntl
import importlib.metadata
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator

import httpx
import psutil
from rich.console import Console

from ferryman.errors import DependencyUnavailable
from ferryman.runtime.files import read_json, write_json
from ferryman.runtime.serving_command import front_command
from ferryman.settings import Settings
from ferryman.spec.servers import find_server
from ferryman.spec.serving import MAIN
from ferryman_airflow.stack.airflow_config import write_config
from ferryman_airflow.stack.ports import require_free, require_space
from ferryman_airflow.stack.processes import ProcessGroup
from ferryman_airflow.stack.rest import AirflowApi
from ferryman_airflow.stack.settings import HOST, StackSettings, child_environment

AIRFLOW_PARTS = ("api-server", "scheduler", "dag-processor", "triggerer")
READY_WITHIN = 240.0  # seconds; a busy two-core machine needs up to 90
_MOST_RESTARTS = 5


class Stopped(BaseException):
    """Ctrl-C, TERM or a closed terminal: leave, and end what was started."""


class Launcher:
    """One `up`: from the checks before the start to the last ended process."""

    def __init__(self, stack: StackSettings, settings: Settings, console: Console) -> None:
        self.stack = stack
        self.settings = settings
        self.console = console
        self.environment = child_environment(stack, settings)
        self.group = ProcessGroup(stack.state_file, stack.logs)
        self._stopping = threading.Event()
        self._restarts: dict[str, int] = {}

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """The stack, ready for use; everything is ended when the block is left."""
        self.stack.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        with self._lock(), _signals_raise():
            self._check()
            try:
                self._start()
                self._wait_ready()
                watch = threading.Thread(target=self._watch, daemon=True)
                watch.start()
                yield
            finally:
                with _signals_wait():
                    self._stopping.set()
                    self.console.print("ending the processes ...")
                    self.group.stop(first="scheduler")
                    self.console.print("all ended")

    def stay(self) -> None:
        """Do nothing until a signal comes; DependencyUnavailable when a process ends for good."""
        # Not Event.wait: a signal that raises inside it can leave its lock taken for ever.
        while not self._stopping.is_set():
            time.sleep(0.2)
        name = max(self._restarts, key=lambda one: self._restarts[one])
        raise DependencyUnavailable(
            f"{name} ended {self._restarts[name]} times: {self._last_words(name)}",
            remedy=f"Read {self.stack.logs / name}.log.",
        )

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        with self.stack.lock_file.open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise DependencyUnavailable(
                    f"the stack of {self.stack.home} runs already, at {self.stack.airflow_url}",
                    remedy="Use it, or end it with `make down`.",
                ) from None
            yield

    def _check(self) -> None:
        left = self.group.adopt()
        if left:
            self.console.print(f"ending {len(left)} processes that an earlier run left behind ...")
            self.group.stop(first="scheduler")
        for folder in (self.stack.home, self.settings.home):
            require_space(folder)
        ports = [
            (self.stack.airflow_port, "Airflow", "FERRYMAN_AIRFLOW_PORT"),
            (self.stack.mlflow_port, "MLflow", "FERRYMAN_MLFLOW_PORT"),
        ]
        if self._serves_here():
            serving, admin = self.settings.serving_port, self.settings.serving_admin_port
            ports.append((serving, "serving", "FERRYMAN_SERVING_PORT"))
            ports.append((admin, "serving's admin", "FERRYMAN_SERVING_ADMIN_PORT"))
        for port, use, variable in ports:
            require_free(port, use, variable)

    def _serves_here(self) -> bool:
        """Whether `main` is a process of this stack; elsewhere, the first release deploys it."""
        return find_server(self.settings.zoo, MAIN).place == "process"

    def _start(self) -> None:
        write_config(self.stack, self.settings)
        if self._serves_here():
            server = find_server(self.settings.zoo, MAIN)
            serving = front_command(self.settings, MAIN, server, ["--watched"])
            self.group.start("serving", serving, self.environment)
        self._prepare_databases()
        self.group.start("mlflow", self._mlflow_command(), self.environment)
        for part in AIRFLOW_PARTS:
            command = [sys.executable, "-m", "airflow", part]
            if part in ("scheduler", "triggerer"):
                command.append("--skip-serve-logs")  # pages read the log files themselves
            self.group.start(part, command, self.environment)

    def _mlflow_command(self) -> list[str]:
        self.settings.mlflow_artifacts.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "mlflow", "ui", "--workers", "1", "--host", HOST]
        command += ["--port", str(self.stack.mlflow_port)]
        command += ["--backend-store-uri", self.settings.mlflow_uri]
        return [*command, "--default-artifact-root", self.settings.mlflow_artifacts.as_uri()]

    def _prepare_databases(self) -> None:
        """Make or upgrade the databases of Airflow and MLflow; once for each version of theirs."""
        stamp = self.stack.home / "prepared.json"
        packages = ("apache-airflow", "mlflow")
        now = {name: importlib.metadata.version(name) for name in packages}
        now["uri"] = self.settings.mlflow_uri
        if stamp.is_file() and read_json(stamp) == now:
            return
        commands = {
            "Airflow": ["airflow", "db", "migrate"],
            "MLflow": ["ferryman_airflow.stack.prepare_tracking"],
        }
        with self.console.status("preparing the databases of Airflow and MLflow"):
            made = {
                name: subprocess.Popen(
                    [sys.executable, "-m", *command],
                    env=self.environment,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                )
                for name, command in commands.items()
            }
            for name, process in made.items():
                said, _ = process.communicate(timeout=READY_WITHIN)
                if process.returncode != 0:
                    raise DependencyUnavailable(
                        f"{name}'s database: {said[-800:]}",
                        remedy=f"If nothing in it matters, remove {self.stack.home} and try again.",
                    )
        write_json(stamp, now)

    def _wait_ready(self) -> None:
        api = AirflowApi(self.stack.airflow_url, "", "")
        deadline = time.monotonic() + READY_WITHIN
        with contextlib.closing(api), self.console.status("starting") as status:
            while True:
                waiting = self._not_ready(api)
                if not waiting:
                    return
                status.update(f"starting; waiting for {', '.join(waiting)}")
                for name, code in self.group.ended().items():
                    raise DependencyUnavailable(
                        f"{name} ended at its start (exit {code}): {self._last_words(name)}",
                        remedy=f"Read {self.stack.logs / name}.log.",
                    )
                if time.monotonic() > deadline:
                    raise DependencyUnavailable(
                        f"not ready after {READY_WITHIN:.0f} s: {', '.join(waiting)}",
                        remedy=f"Read the logs in {self.stack.logs}.",
                    )
                time.sleep(0.25)

    def _not_ready(self, api: AirflowApi) -> list[str]:
        states = api.health()
        names = {
            "api-server": "metadatabase",
            "scheduler": "scheduler",
            "dag-processor": "dag_processor",
            "triggerer": "triggerer",
        }
        waiting = [part for part in AIRFLOW_PARTS if states.get(names[part]) != "healthy"]
        others = {"mlflow": f"{self.stack.mlflow_url}/health"}
        if self._serves_here():
            others["serving"] = f"{self.settings.serving_url}/v2/health/live"
        return waiting + [name for name, url in others.items() if not _answers(url)]

    def _watch(self) -> None:
        """Start again what ends by itself; give up on what keeps ending."""
        while not self._stopping.wait(1.0):
            for name, code in self.group.ended().items():
                self._restarts[name] = self._restarts.get(name, 0) + 1
                if self._restarts[name] > _MOST_RESTARTS:
                    self._stopping.set()
                    return
                self.console.print(f"[yellow]{name} ended (exit {code}); starting it again")
                # Replicas answer on without their front, and join the next one.
                self.group.restart(name, alone=name == "serving")

    def _last_words(self, name: str) -> str:
        log = self.stack.logs / f"{name}.log"
        with contextlib.suppress(OSError), log.open(errors="replace") as stream:
            return " | ".join(line.strip() for line in deque(stream, maxlen=4))
        return "it left no log"


def end_stack(stack: StackSettings, console: Console) -> None:
    """End what runs: the launcher first, which ends its processes; then what one left behind."""
    group = ProcessGroup(stack.state_file, stack.logs)
    launcher, left = group.launcher(), group.adopt()
    if launcher is None and not left:
        console.print("nothing is running")
        group.stop()
        return
    if launcher is not None:
        console.print(f"ending the stack of {stack.home} ...")
        end_launcher(launcher, patience=60)
    left = group.adopt()
    if left:
        console.print(f"ending {len(left)} processes that were left behind ...")
    group.stop(first="scheduler")
    console.print("all ended")


def end_launcher(launcher: psutil.Process, patience: float) -> None:
    """Ask a launcher to end; after so many seconds, end it. What it started is left behind."""
    with contextlib.suppress(psutil.NoSuchProcess):
        launcher.terminate()
        try:
            launcher.wait(patience)
        except psutil.TimeoutExpired:
            launcher.kill()
            launcher.wait(5)


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def _signals_raise() -> Iterator[None]:
    def stop(number: int, _: object) -> None:
        raise Stopped(signal.Signals(number).name)

    before = {number: signal.signal(number, stop) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _signals_wait() -> Iterator[None]:
    """A second Ctrl-C may not interrupt the ending and leave processes behind."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
