"""Small real bundles, free ports, and an installation that released its first version."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from release_world import Release, candidate, copy_world, fill
from rollout_world import World
from small_bundles import _small_bundles, free_ports, make_bundle

from ferryman.deployment.process.process_deployer import ProcessDeployer
from ferryman.settings import Settings

__all__ = ["_small_bundles", "free_ports", "make_bundle"]


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory, make_bundle, free_ports) -> Settings:
    """An installation with three registered versions, of which the first was released."""
    root = tmp_path_factory.mktemp("template")
    ports = free_ports(2)
    settings = Settings(
        home=root / "home", zoo=root / "zoo", serving_port=ports[0], serving_admin_port=ports[1]
    )
    fill(settings, make_bundle)
    deployer = ProcessDeployer(settings)
    deployer.start()
    try:
        Release(settings, "first", candidate(settings, 1, make_bundle)).run_all()
    finally:
        deployer.stop()
    return settings


@pytest.fixture
def open_world(
    template: Settings, tmp_path: Path, free_ports: Any, make_bundle: Any
) -> Iterator[Callable[[str], World]]:
    """open_world(declared): a world with more of a declaration, its server at epoch 1."""
    started: list[ProcessDeployer] = []

    def open_it(declared: str) -> World:
        settings = copy_world(template, tmp_path / "home", free_ports(2), declared)
        started.append(ProcessDeployer(settings))
        started[-1].start()
        return World(settings, make_bundle)

    yield open_it
    for deployer in started:
        deployer.stop()
