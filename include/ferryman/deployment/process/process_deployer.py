"""Deploys a server as processes of this machine that outlive whoever started them."""

import fcntl
import logging
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import httpx

from ferryman.deployment.deployer import Deployment
from ferryman.deployment.process.front_admin import FrontAdmin, replicas_of
from ferryman.deployment.process.front_process import FrontProcess
from ferryman.errors import DependencyUnavailable, FerrymanError
from ferryman.runtime.endpoints import endpoint_of
from ferryman.runtime.ports import holder_of
from ferryman.runtime.serving_command import front_command
from ferryman.settings import Settings
from ferryman.spec.servers import ServerSpec, find_server
from ferryman.spec.serving import MAIN

_START_SECONDS = 60.0
_POLL_SECONDS = 0.05
_PORT_SECONDS = 2.0
_ANSWER_SECONDS = 3.0

logger = logging.getLogger(__name__)


class ProcessDeployer:
    """A front and its replicas in a session of their own, output in a file, state beside.

    `extra` is said to the front besides; with --no-children it starts no replicas: they join it by
    themselves.
    """

    def __init__(
        self,
        settings: Settings,
        name: str = MAIN,
        server: ServerSpec | None = None,
        extra: Sequence[str] = (),
    ) -> None:
        self._settings = settings
        self._name = name
        self._server = server or find_server(settings.zoo, name)
        self._extra = extra
        self._endpoint = endpoint_of(settings, name, self._server)
        self._root = self._endpoint.root
        self._log = self._root / "server.log"
        self._process = FrontProcess(self._root)
        self._admin = FrontAdmin(self._endpoint)

    def start(self) -> Deployment:
        """Start the server, or find it running; see `Deployer.start`.

        A taken port is DependencyUnavailable (exit 6) that names the port and its holder.
        """
        self._root.mkdir(parents=True, exist_ok=True)
        with self._starting_alone():
            state = self._process.running()
            if state is None:
                orphans = self._process.members()
                if not orphans:
                    for port in (self._endpoint.port, self._endpoint.admin_port):
                        _refuse_taken(self._endpoint.host, port)
                return self._wait_until_loaded(self._spawn())
            if state.port != self._endpoint.port:
                raise DependencyUnavailable(
                    f"the server of {self._root} runs on port {state.port} (pid {state.pid})",
                    remedy="Stop it first: ferryman serve --stop.",
                )
            return self._wait_until_loaded(None)

    def status(self) -> Deployment:
        """What is there now: the front by pid and start time, its replicas, what they answer."""
        state = self._process.running()
        url = self._endpoint.url
        if state is None:
            return self._without_front()
        process = str(state.pid)
        content = self._ask_front()
        if content is None:
            return Deployment("silent", url, process, f"see {self._log}")
        replicas, wanted = replicas_of(content), int(content["wanted"])
        answer = self._ask_ready() if replicas else None
        if answer is not None and answer.status_code == 200:
            few = sum(replica.state == "ready" for replica in replicas) < wanted
            detail = f"fewer than {wanted} replicas are ready; see {self._log}" if few else ""
            return Deployment("ready", url, process, detail, wanted, replicas)
        return Deployment(
            "not_ready", url, process, self._problem(answer, content), wanted, replicas
        )

    def scale(self, replicas: int) -> Deployment:
        """Run so many replicas from now on; see `Deployer.scale`."""
        if self._process.running() is None:
            raise DependencyUnavailable(
                f"no front of {self._root} runs", remedy="Start it: ferryman serve --detach."
            )
        self._admin.scale(replicas)
        return self.status()

    def stop(self) -> Deployment:
        """TERM to the front, which ends its replicas; KILL to what is left of its session.

        A pid that is not ours is left alone.
        """
        self._process.end()
        return Deployment("stopped", self._endpoint.url)

    def _without_front(self) -> Deployment:
        """Replicas of a front that was killed answer until a new one takes over."""
        orphans = self._process.members()
        answer = self._ask_ready() if orphans else None
        if answer is None:
            return Deployment("stopped", self._endpoint.url)
        state: Any = "ready" if answer.status_code == 200 else "not_ready"
        detail = "its front has gone; replicas answer by themselves until it is started"
        return Deployment(state, self._endpoint.url, "", detail)

    def _problem(self, answer: httpx.Response | None, content: dict[str, Any]) -> str:
        if answer is None:
            return f"no replica is ready; {content['last_words'] or f'see {self._log}'}"
        told = answer.json()
        missing = ", ".join(told.get("missing", [])) or "its models"
        what = "loading" if told.get("loading") else "cannot load"
        return f"{what} {missing}; see {self._log}"

    def _spawn(self) -> "subprocess.Popen[bytes]":
        command = front_command(self._settings, self._name, self._server, self._extra)
        with self._log.open("ab") as log:
            # A process that inherits its starter's output goes deaf when the starter ends.
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._root,
                start_new_session=True,
                close_fds=True,
            )

    def _wait_until_loaded(self, spawned: "subprocess.Popen[bytes] | None") -> Deployment:
        deadline = time.monotonic() + _START_SECONDS
        try:
            while time.monotonic() < deadline:
                content = self._ask_front() if self._process.running() else None
                if content is not None and self._is_settled(content):
                    return self.status()
                if (
                    spawned is not None
                    and spawned.poll() is not None
                    and not self._process.is_locked()
                ):
                    raise DependencyUnavailable(
                        f"the front ended at its start: {self._last_line()}",
                        remedy=f"Read {self._log}.",
                    )
                time.sleep(_POLL_SECONDS)
        finally:
            if spawned is not None and spawned.returncode is None:
                # Popen warns when it is dropped while its process lives; this one shall outlive us.
                spawned.returncode = 0
        raise DependencyUnavailable(
            f"the server does not answer after {_START_SECONDS:.0f} s: {self._last_line()}",
            remedy=f"Read {self._log}; end it with: ferryman serve --stop.",
        )

    def _is_settled(self, content: dict[str, Any]) -> bool:
        """Whether as many replicas as wanted have loaded what they can."""
        ready = [entry for entry in content["replicas"] if entry["state"] == "ready"]
        return len(ready) >= content["wanted"] or "--no-children" in self._extra

    def _ask_front(self) -> dict[str, Any] | None:
        try:
            return self._admin.replicas()
        except FerrymanError as error:
            logger.debug("the front does not answer: %s", error)
            return None

    def _ask_ready(self) -> httpx.Response | None:
        url = f"{self._endpoint.url}/v2/health/ready"
        try:
            with httpx.Client(trust_env=False, timeout=_ANSWER_SECONDS) as client:
                return client.get(url)
        except httpx.TransportError:
            return None

    def _last_line(self) -> str:
        return self._process.last_line(self._log)

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
