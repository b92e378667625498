"""A real Alertmanager on this machine (Debian's package `prometheus-alertmanager`).

with Alertmanager(folder, config) as alertmanager:
    alertmanager.address
"""

import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import httpx
import yaml

from ferryman.runtime.ports import free_ports

MISSING = "Alertmanager is not installed: apt install prometheus-alertmanager"
_START_SECONDS = 60.0


def is_installed() -> bool:
    """Whether there is an Alertmanager to start."""
    return shutil.which("prometheus-alertmanager") is not None


class Alertmanager:
    """Runs with a configuration, given as what its YAML says."""

    def __init__(self, folder: Path, config: dict[str, Any]) -> None:
        self._folder, self._config = folder, config
        [self._port] = free_ports(1)

    def __enter__(self) -> "Alertmanager":
        self._folder.mkdir(parents=True, exist_ok=True)
        config = self._folder / "alertmanager.yml"
        config.write_text(yaml.safe_dump(self._config))
        with (self._folder / "alertmanager.log").open("wb") as log:
            self._process = subprocess.Popen(
                [
                    "prometheus-alertmanager",
                    f"--config.file={config}",
                    f"--storage.path={self._folder / 'data'}",
                    f"--web.listen-address={self.address}",
                    "--cluster.listen-address=",
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + _START_SECONDS
        while not self._ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.__exit__()
                raise RuntimeError((self._folder / "alertmanager.log").read_text()[-2000:])
            time.sleep(0.1)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    @property
    def address(self) -> str:
        """Its host and port."""
        return f"127.0.0.1:{self._port}"

    def post(self, *alerts: dict[str, Any]) -> None:
        """Give it alerts, as Prometheus does."""
        with httpx.Client(trust_env=False, timeout=10) as client:
            client.post(
                f"http://{self.address}/api/v2/alerts", json=list(alerts)
            ).raise_for_status()

    def _ready(self) -> bool:
        try:
            with httpx.Client(trust_env=False, timeout=2) as client:
                return client.get(f"http://{self.address}/-/ready").status_code == 200
        except httpx.TransportError:
            return False
