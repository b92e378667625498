"""A declared server that really runs, with what a test asks it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from small_bundles import SmallBundle

from ferryman.deployment.process.front_admin import FrontAdmin
from ferryman.deployment.process.process_deployer import ProcessDeployer
from ferryman.runtime.endpoints import endpoint_of
from ferryman.serving.client import ServingClient
from ferryman.settings import Settings
from ferryman.spec.servers import ServerSpec


class RunningServer:
    """One declared server with its deployer, its client and its administration."""

    def __init__(self, settings: Settings, server: ServerSpec) -> None:
        self.settings = settings
        self.endpoint = endpoint_of(settings, "main", server)
        self.deployer = ProcessDeployer(settings, "main", server)
        self.client = ServingClient(self.endpoint)
        self.admin = FrontAdmin(self.endpoint)

    def load(self, bundle: SmallBundle, epoch: int) -> None:
        """Serve a bundle as version and epoch `epoch`."""
        where = {"bundle": str(bundle.folder), "digest": bundle.digest}
        self.client.load("tiny", version=epoch, epoch=epoch, **where)

    def pids(self) -> dict[str, int]:
        """The replicas by name."""
        return {entry["name"]: entry["pid"] for entry in self.admin.replicas()["replicas"]}

    def answered(self) -> dict[str, float]:
        """How many predictions each replica has made."""
        found: dict[str, float] = {}
        page = httpx.get(f"{self.endpoint.url}/metrics", trust_env=False).text
        for line in page.splitlines():
            if line.startswith("ferryman_predictions_total{"):
                name = line.partition('replica="')[2].partition('"')[0]
                found[name] = found.get(name, 0) + float(line.rpartition(" ")[2])
        return found

    def log(self) -> str:
        """What the server said."""
        return (self.endpoint.root / "server.log").read_text()


@contextmanager
def starting(folder: Path, free_ports: Any) -> Iterator[Callable[..., RunningServer]]:
    """start(**declaration): a running server; it is ended with the block."""
    started: list[RunningServer] = []

    def start(**declared: Any) -> RunningServer:
        port, admin_port = free_ports(2)
        settings = Settings(
            home=folder / f"home{len(started)}", serving_port=port, serving_admin_port=admin_port
        )
        server = RunningServer(settings, ServerSpec(**declared))
        started.append(server)
        server.deployer.start()
        return server

    try:
        yield start
    finally:
        for server in started:
            server.client.close()
            server.deployer.stop()
