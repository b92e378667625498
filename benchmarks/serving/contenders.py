"""The servers that are compared: how each is started, when it is ready, what it uses."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import httpx
import psutil

_HERE = Path(__file__).resolve().parent
_START_SECONDS = 120.0
_QUIET = {"ORT_DISABLE_TELEMETRY": "1"}  # of every contender, as our server does by itself


@dataclass
class Contender:
    """A server as a process tree. `forms` are the request forms that it understands."""

    name: str
    command: Sequence[str]
    url: str
    ready_url: str
    log: Path
    env: Mapping[str, str] = field(default_factory=dict)
    forms: Sequence[str] = ("records", "lists")
    start_seconds: float = 0.0
    start_memory: str = ""
    _process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        with self.log.open("wb") as stream:
            started = time.perf_counter()
            self._process = subprocess.Popen(
                self.command, env={**_QUIET, **os.environ, **self.env}, stdout=stream, stderr=stream
            )
        while not self._is_ready():
            if self._process.poll() is not None or time.perf_counter() - started > _START_SECONDS:
                self.__exit__()
                raise RuntimeError(f"{self.name} did not start:\n{self.log.read_text()[-2000:]}")
            time.sleep(0.01)
        self.start_seconds = time.perf_counter() - started
        self.start_memory = self.memory()
        return self

    def __exit__(self, *_: object) -> None:
        tree = self._tree()
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        for left in tree:
            if left.is_running():
                left.kill()

    def cpu_seconds(self) -> float:
        """User and system time of all processes so far."""
        times = [process.cpu_times() for process in self._tree()]
        return sum(each.user + each.system for each in times)

    def memory(self) -> str:
        """Megabytes of all processes together (PSS), and what each has in memory (RSS)."""
        tree = self._tree()
        shared = sum(process.memory_full_info().pss for process in tree) / 1e6
        each = " + ".join(f"{process.memory_info().rss / 1e6:.0f}" for process in tree)
        return f"{shared:.0f} MB (RSS {each})"

    def _tree(self) -> list[psutil.Process]:
        if self._process is None or self._process.poll() is not None:
            return []
        top = psutil.Process(self._process.pid)
        return [top, *top.children(recursive=True)]

    def _is_ready(self) -> bool:
        try:
            return httpx.get(self.ready_url, trust_env=False, timeout=2).status_code == 200
        except httpx.TransportError:
            return False


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def ferryman(home: Path, work: Path, ports: tuple[int, int]) -> Contender:
    """Our server with validation, routing, metrics and the prediction log on."""
    port, admin = ports
    at = f"http://127.0.0.1:{port}"
    return Contender(
        name="ferryman",
        command=[sys.executable, "-m", "ferryman.serving"],
        env={
            "FERRYMAN_HOME": str(home),
            "FERRYMAN_SERVING_PORT": str(port),
            "FERRYMAN_SERVING_ADMIN_PORT": str(admin),
        },
        url=f"{at}/v1/models/digits:predict",
        ready_url=f"{at}/v2/health/ready",
        log=work / "ferryman.log",
    )


def bare(bundle: Path, work: Path) -> Contender:
    """The limit: what uvicorn, JSON and onnxruntime cost alone."""
    port = free_port()
    options = ["--http", "httptools", "--loop", "uvloop", "--no-access-log", "--lifespan", "off"]
    at = f"http://127.0.0.1:{port}"
    return Contender(
        name="bare",
        command=[
            *(sys.executable, "-m", "uvicorn", "bare_app:app", "--app-dir", str(_HERE)),
            *("--port", str(port), "--log-level", "warning", *options),
        ],
        env={"BENCH_BUNDLE": str(bundle)},
        url=f"{at}/",
        ready_url=f"{at}/docs",
        log=work / "bare.log",
    )


def kserve(bundle: Path, work: Path, python: Path) -> Contender:
    """KServe's ModelServer, one worker, V1 protocol."""
    port = free_port()
    at = f"http://127.0.0.1:{port}"
    return Contender(
        name="kserve",
        command=[str(python), str(_HERE / "kserve_server.py"), str(bundle), str(port)],
        url=f"{at}/v1/models/digits:predict",
        ready_url=f"{at}/v2/health/ready",
        log=work / "kserve.log",
    )


def mlflow(bundle: Path, work: Path) -> Contender:
    """`mlflow models serve` of the bundle, one worker."""
    port = free_port()
    at = f"http://127.0.0.1:{port}"
    return Contender(
        name="mlflow",
        command=[
            *(str(Path(sys.executable).parent / "mlflow"), "models", "serve", "-m", str(bundle)),
            *("--env-manager", "local", "--port", str(port), "--workers", "1"),
        ],
        env={"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        url=f"{at}/invocations",
        ready_url=f"{at}/ping",
        log=work / "mlflow.log",
        forms=("records",),  # its signature has names
    )
