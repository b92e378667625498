"""One running server for all clients: `tiny` in two versions, `line`, `kinds` of three classes."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest
from linear_bundle import LINE, make_linear_bundle
from small_bundles import (
    SmallBundle,
    _small_bundles,
    _task_bundles,
    free_ports,
    make_bundle,
    make_task_bundle,
)

from ferryman.deployment.process.process_deployer import ProcessDeployer
from ferryman.runtime.bundle import MANIFEST, seal
from ferryman.runtime.endpoints import main_endpoint
from ferryman.serving.client import ServingClient
from ferryman.settings import Settings

__all__ = ["_small_bundles", "_task_bundles", "free_ports", "make_bundle", "make_task_bundle"]


class Server(NamedTuple):
    """Where it answers; `bundle` is version 3 of `tiny`, `older` its version 2."""

    address: str
    http: httpx.Client
    bundle: SmallBundle
    older: SmallBundle
    kinds: SmallBundle


@pytest.fixture(scope="session")
def server(
    tmp_path_factory: pytest.TempPathFactory, make_bundle, make_task_bundle, free_ports
) -> Iterator[Server]:
    """A server process: `tiny` version 3 (2 is kept warm), `line` and `kinds` version 1."""
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
            kinds = _renamed(make_task_bundle(home / "made", "multiclass"), settings.bundles_root)
            where = {"bundle": str(kinds.folder), "digest": kinds.digest}
            client.load("kinds", version=1, epoch=1, **where)
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as http:
            yield Server(f"127.0.0.1:{port}", http, bundles[1], bundles[0], kinds)
    finally:
        deployer.stop()


def _renamed(bundle: SmallBundle, bundles_root: Path) -> SmallBundle:
    """The bundle again, as one of the model `kinds`."""
    folder = bundles_root / "kinds" / "made"
    shutil.copytree(bundle.folder, folder)
    (folder / MANIFEST).unlink()
    manifest = seal(folder, model="kinds", task="multiclass", framework="sklearn")
    return bundle._replace(folder=folder, digest=manifest.digest)
