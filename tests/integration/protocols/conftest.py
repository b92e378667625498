"""One running server for all clients: `tiny` in two versions, `line`, and their small bundles."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest
from linear_bundle import LINE, make_linear_bundle
from small_bundles import SmallBundle, _small_bundles, free_ports, make_bundle

from ferryman.deployment.process_deployer import ProcessDeployer
from ferryman.runtime.endpoints import main_endpoint
from ferryman.serving.client import ServingClient
from ferryman.settings import Settings

__all__ = ["_small_bundles", "free_ports", "make_bundle"]


class Server(NamedTuple):
    """Where it answers; `bundle` is version 3 of `tiny`, `older` its version 2."""

    address: str
    http: httpx.Client
    bundle: SmallBundle
    older: SmallBundle


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, make_bundle, free_ports) -> Iterator[Server]:
    """A server process that serves `tiny` version 3 (2 is kept warm) and `line` version 1."""
    home = tmp_path_factory.mktemp("protocols")
    port, admin_port = free_ports(2)
    zoo: Path = home / "zoo"
    settings = Settings(home=home, zoo=zoo, serving_port=port, serving_admin_port=admin_port)
    deployer = ProcessDeployer(settings)
    deployer.start()
    try:
        with ServingClient(main_endpoint(settings)) as client:
            bundles = [make_bundle(settings.bundles_root, strength) for strength in (0.1, 1.0)]
            for version, bundle in enumerate(bundles, start=2):
                where = {"bundle": str(bundle.folder), "digest": bundle.digest}
                client.load("tiny", version=version, epoch=version, **where)
            folder, manifest = make_linear_bundle(settings.bundles_root)
            client.load(LINE, version=1, epoch=1, bundle=str(folder), digest=manifest.digest)
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as http:
            yield Server(f"127.0.0.1:{port}", http, bundles[1], bundles[0])
    finally:
        deployer.stop()
