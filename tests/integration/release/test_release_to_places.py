"""The same steps release to a server of its own, which the release starts."""

from pathlib import Path
from typing import Any

import pytest
from release_world import Release, candidate, fill, released_elsewhere

from ferryman.deployment.deployers import deployer_of
from ferryman.errors import DependencyUnavailable
from ferryman.settings import Settings


def test_a_release_starts_the_declared_processes(
    tmp_path: Path, make_bundle: Any, free_ports: Any
) -> None:
    settings = Settings(home=tmp_path / "home", zoo=tmp_path / "zoo")
    declared = {"place": "process", "replicas": 2}
    ports = free_ports(2)
    released_elsewhere(settings, make_bundle, declared, ports)
    deployer = deployer_of(settings, "lane")
    try:
        found = deployer.status()
        assert (found.state, found.wanted, len(found.replicas)) == ("ready", 2, 2)
        assert deployer_of(settings, "main").status().state == "stopped"
    finally:
        deployer.stop()


def test_the_processes_of_main_are_not_started_by_a_release(
    tmp_path: Path, make_bundle: Any, free_ports: Any
) -> None:
    port, admin_port = free_ports(2)
    settings = Settings(
        home=tmp_path / "home",
        zoo=tmp_path / "zoo",
        serving_port=port,
        serving_admin_port=admin_port,
    )
    fill(settings, make_bundle)
    release = Release(settings, "first", candidate(settings, 1, make_bundle))
    release.run("gate")
    with pytest.raises(DependencyUnavailable, match="Start the server: ferryman serve --detach"):
        release.run("stage")
