"""One installation in which a model of each further task has lived its whole life."""

import shutil
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from task_sources import brews, homes

from ferryman.deployment.process.process_deployer import ProcessDeployer
from ferryman.settings import Settings

ZOO = Path(__file__).parents[2] / "zoo"
DAYS = 18


@pytest.fixture(scope="session")
def installation(
    tmp_path_factory: pytest.TempPathFactory, empty_mlflow: Path
) -> Iterator[Settings]:
    """Source files of `cups` and `price`, an empty registry, and a running server."""
    root = tmp_path_factory.mktemp("tasks")
    for model, name, frame in (("cups", "brews", brews(DAYS)), ("price", "homes", homes(DAYS))):
        shutil.copytree(ZOO / model, root / "zoo" / model)
        (root / "source" / model).mkdir(parents=True)
        frame.to_parquet(root / "source" / model / f"{name}_2024-01.parquet")
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(2)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        ports = [int(probe.getsockname()[1]) for probe in probes]
    settings = Settings(
        root=root,
        home=root / "home",
        zoo=root / "zoo",
        source_root=root / "source",
        serving_port=ports[0],
        serving_admin_port=ports[1],
        code_version="test",
    )
    shutil.copytree(empty_mlflow, settings.home / "mlflow")
    deployer = ProcessDeployer(settings)
    deployer.start()
    yield settings
    deployer.stop()
