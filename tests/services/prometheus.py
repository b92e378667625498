"""A real Prometheus on this machine (Debian's package `prometheus`), that scrapes every second.

with Prometheus(folder, {"main": "127.0.0.1:8600"}) as prometheus:
    prometheus.url
"""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from services.web_program import WebProgram

MISSING = "Prometheus is not installed: apt install prometheus"


def is_installed() -> bool:
    """Whether there is a Prometheus to start."""
    return shutil.which("prometheus") is not None


class Prometheus(WebProgram):
    """Scrapes /metrics of each server's address, and labels its samples server="<name>".

    With `config` (what its YAML says, paths absolute) it does what that says.
    """

    def __init__(
        self, folder: Path, servers: Mapping[str, str], config: dict[str, Any] | None = None
    ) -> None:
        super().__init__(folder, "prometheus")
        self._servers, self._config = dict(servers), config

    def command(self) -> list[str]:
        """What starts it."""
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
        return [
            "prometheus",
            f"--config.file={config}",
            f"--storage.tsdb.path={self._folder / 'data'}",
            f"--web.listen-address={self.address}",
        ]
