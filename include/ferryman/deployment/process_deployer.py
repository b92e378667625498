"""Deploys the serving program as a process of this machine that outlives whoever started it."""

import fcntl
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
from pydantic import BaseModel, ConfigDict

from ferryman.deployment.deployer import Deployment
from ferryman.errors import DependencyUnavailable
from ferryman.runtime.endpoints import endpoint_of
from ferryman.runtime.files import read_json, write_json
from ferryman.runtime.ports import holder_of
from ferryman.settings import Settings
from ferryman.spec.servers import ServerSpec, find_server
from ferryman.spec.serving import MAIN

_START_SECONDS = 60.0
_TERM_SECONDS = 15.0
_POLL_SECONDS = 0.05
_PORT_SECONDS = 2.0
_ANSWER_SECONDS = 3.0
_LOG_BYTES = 2_000
# A boot's clock may be corrected by a little; pids are not reused that fast.
_SAME_START_SECONDS = 2.0

logger = logging.getLogger(__name__)


class _State(BaseModel):
    """What is remembered of a started process; the start time tells a reused pid apart."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    pid: int
    started: float
    port: int
    admin_port: int


class ProcessDeployer:
    """The server as a detached process: its own session, its output in a file, its state beside."""

    def __init__(
        self, settings: Settings, name: str = MAIN, server: ServerSpec | None = None
    ) -> None:
        self._settings = settings
        self._server = server or find_server(settings.zoo, name)
        self._endpoint = endpoint_of(settings, name, self._server)
        self._root = self._endpoint.root
        self._file = self._root / "process.json"
        self._log = self._root / "server.log"

    def start(self) -> Deployment:
        """Start the server, or find it running; see `Deployer.start`.

        A taken port is DependencyUnavailable (exit 6) that names the port and its holder.
        """
        self._root.mkdir(parents=True, exist_ok=True)
        with self._starting_alone():
            state = self._running()
            if state is not None:
                if state.port == self._settings.serving_port:
                    return self._wait_until_loaded(state.pid)
                raise DependencyUnavailable(
                    f"the server of {self._root} runs on port {state.port} (pid {state.pid})",
                    remedy="Stop it first: ferryman serve --stop.",
                )
            for port in (self._settings.serving_port, self._settings.serving_admin_port):
                _refuse_taken(self._settings.serving_host, port)
            return self._wait_until_loaded(self._spawn())

    def status(self) -> Deployment:
        """What is there now: the process by pid and start time, and what it answers."""
        state = self._running()
        url = self._settings.serving_url
        if state is None:
            return Deployment("stopped", url)
        process = str(state.pid)
        answer = self._ask_ready()
        if answer is None:
            return Deployment("silent", url, process, f"see {self._log}")
        if answer.status_code == 200:
            return Deployment("ready", url, process)
        content = answer.json()
        missing = ", ".join(content.get("missing", [])) or "its models"
        what = "loading" if content.get("loading") else "cannot load"
        return Deployment("not_ready", url, process, f"{what} {missing}; see {self._log}")

    def stop(self) -> Deployment:
        """TERM to the process group, KILL after 15 s; a pid that is not ours is left alone."""
        state = self._running()
        if state is not None:
            logger.info("stopping the serving process %d", state.pid)
            _end_group(state.pid)
        self._file.unlink(missing_ok=True)
        return Deployment("stopped", self._settings.serving_url)

    def _spawn(self) -> int:
        settings = self._settings
        arguments = [
            *("--home", str(settings.home)),
            *("--host", settings.serving_host),
            *("--port", str(settings.serving_port)),
            *("--admin-port", str(settings.serving_admin_port)),
        ]
        with self._log.open("ab") as log:
            # A process that inherits its starter's output goes deaf when the starter ends.
            process = subprocess.Popen(
                [sys.executable, "-m", "ferryman.serving", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=settings.home,
                start_new_session=True,
                close_fds=True,
            )
        # Popen warns when it is dropped while its process lives; this one is meant to outlive us.
        process.returncode = 0
        state = _State(
            pid=process.pid,
            started=psutil.Process(process.pid).create_time(),
            port=settings.serving_port,
            admin_port=settings.serving_admin_port,
        )
        write_json(self._file, state.model_dump(mode="json"))
        return process.pid

    def _running(self) -> _State | None:
        """The remembered process, when it still is the one that was started."""
        try:
            state = _State.model_validate(read_json(self._file))
            process = psutil.Process(state.pid)
            if abs(process.create_time() - state.started) >= _SAME_START_SECONDS:
                return None
            if process.status() == psutil.STATUS_ZOMBIE:
                process.wait(timeout=0.1)  # our own child, ended: nobody else can bury it
                return None
            return state
        except (FileNotFoundError, ValueError, psutil.NoSuchProcess, psutil.TimeoutExpired):
            return None

    def _wait_until_loaded(self, pid: int) -> Deployment:
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            answer = self._ask_ready()
            if answer is not None and not answer.json().get("loading", False):
                return self.status()
            if self._running() is None:
                self._file.unlink(missing_ok=True)
                raise DependencyUnavailable(
                    f"the serving process {pid} ended at its start: {_tail(self._log)}",
                    remedy=f"Read {self._log}.",
                )
            time.sleep(_POLL_SECONDS)
        raise DependencyUnavailable(
            f"the serving process {pid} does not answer after {_START_SECONDS:.0f} s",
            remedy=f"Read {self._log}; end it with: ferryman serve --stop.",
        )

    def _ask_ready(self) -> httpx.Response | None:
        url = f"{self._settings.serving_url}/v2/health/ready"
        try:
            with httpx.Client(trust_env=False, timeout=_ANSWER_SECONDS) as client:
                return client.get(url)
        except httpx.TransportError:
            return None

    @contextmanager
    def _starting_alone(self) -> Iterator[None]:
        """Two starts at once make one server; the lock goes with the process that holds it."""
        with (self._root / "start.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _refuse_taken(host: str, port: int) -> None:
    """A killed server's last threads hold its port for a moment: only a lasting holder counts."""
    deadline = time.monotonic() + _PORT_SECONDS
    while (reason := _bind_error(host, port)) is not None:
        if time.monotonic() > deadline:
            raise DependencyUnavailable(
                f"port {port} on {host} cannot be used: {reason}{holder_of(port)}",
                remedy="Stop its holder, or choose another FERRYMAN_SERVING_PORT.",
            )
        time.sleep(_POLL_SECONDS)


def _bind_error(host: str, port: int) -> str | None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return error.strerror
    return None


def _end_group(pid: int) -> None:
    """The server leads its own session: its group is it and whatever it started."""
    process = psutil.Process(pid)
    for name, seconds in ((signal.SIGTERM, _TERM_SECONDS), (signal.SIGKILL, 5.0)):
        try:
            os.killpg(pid, name)
            process.wait(timeout=seconds)
            return
        except (ProcessLookupError, psutil.NoSuchProcess):
            return
        except psutil.TimeoutExpired:
            logger.warning("process %d did not end on %s in %.0f s", pid, name.name, seconds)


def _tail(file: Path) -> str:
    text = file.read_bytes()[-_LOG_BYTES:].decode(errors="replace").strip()
    return text.splitlines()[-1] if text else "no output"
