"""A real Alertmanager on this machine (Debian's package `prometheus-alertmanager`).

with Alertmanager(folder, config) as alertmanager:
    alertmanager.address
"""

import shutil
from pathlib import Path
from typing import Any

import httpx
import yaml
from services.web_program import WebProgram

MISSING = "Alertmanager is not installed: apt install prometheus-alertmanager"


def is_installed() -> bool:
    """Whether there is an Alertmanager to start."""
    return shutil.which("prometheus-alertmanager") is not None


class Alertmanager(WebProgram):
    """Runs with a configuration, given as what its YAML says."""

    def __init__(self, folder: Path, config: dict[str, Any]) -> None:
        super().__init__(folder, "alertmanager")
        self._config = config

    def command(self) -> list[str]:
        """What starts it."""
        config = self._folder / "alertmanager.yml"
        config.write_text(yaml.safe_dump(self._config))
        return [
            "prometheus-alertmanager",
            f"--config.file={config}",
            f"--storage.path={self._folder / 'data'}",
            f"--web.listen-address={self.address}",
            "--cluster.listen-address=",
        ]

    def post(self, *alerts: dict[str, Any]) -> None:
        """Give it alerts, as Prometheus does."""
        with httpx.Client(trust_env=False, timeout=10) as client:
            client.post(f"{self.url}/api/v2/alerts", json=list(alerts)).raise_for_status()
