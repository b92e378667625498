"""A real Prometheus on this machine (Debian's package `prometheus`), that scrapes every second.

with Prometheus(folder, {"main": "127.0.0.1:8600"}) as prometheus:
    prometheus.url
"""

import shutil
import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import yaml

MISSING = "Prometheus is not installed: apt install prometheus"
_START_SECONDS = 60.0


def is_installed() -> bool:
    """Whether there is a Prometheus to start."""
    return shutil.which("prometheus") is not None


class Prometheus:
    """Scrapes /metrics of each server's address, and labels its samples server="<name>".

    With `config` (what its YAML says, paths absolute) it does what that says.
    """

    def __init__(
        self, folder: Path, servers: Mapping[str, str], config: dict[str, Any] | None = None
    ) -> None:
        self._folder, self._servers, self._config = folder, dict(servers), config
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = int(probe.getsockname()[1])

    def __enter__(self) -> "Prometheus":
        self._folder.mkdir(parents=True, exist_ok=True)
        jobs = [
            {
                "job_name": f"ferryman-{name}",
                "static_configs": [{"targets": [address], "labels": {"server": name}}],
            }
            for name, address in self._servers.items()
        ]
        every = {"scrape_interval": "1s", "scrape_timeout": "1s"}
        config = self._folder / "prometheus.yml"
        given = self._config or {"global": every, "scrape_configs": jobs}
        config.write_text(yaml.safe_dump(given))
        with (self._folder / "prometheus.log").open("wb") as log:
            self._process = subprocess.Popen(
                [
                    "prometheus",
                    f"--config.file={config}",
                    f"--storage.tsdb.path={self._folder / 'data'}",
                    f"--web.listen-address=127.0.0.1:{self._port}",
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + _START_SECONDS
        while not self._ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.__exit__()
                raise RuntimeError((self._folder / "prometheus.log").read_text()[-2000:])
            time.sleep(0.1)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self._port}"

    def _ready(self) -> bool:
        try:
            with httpx.Client(trust_env=False, timeout=2) as client:
                return client.get(f"{self.url}/-/ready").status_code == 200
        except httpx.TransportError:
            return False
