"""The steps that release to processes release to containers, which they start."""

from pathlib import Path
from typing import Any

from release_world import released_elsewhere

from ferryman.deployment.deployers import deployer_of
from ferryman.settings import Settings


def test_a_release_starts_the_declared_containers(
    tmp_path: Path, image: str, make_bundle: Any, free_ports: Any
) -> None:
    settings = Settings(home=tmp_path / "home", zoo=tmp_path / "zoo")
    declared = {
        "place": "container",
        "replicas": 2,
        "container": {"image": image},
        "resources": {"cpu": 0.5, "memory": "256Mi"},
    }
    ports = free_ports(2)
    try:
        released_elsewhere(settings, make_bundle, declared, ports)
        found = deployer_of(settings, "lane").status()
        assert (found.state, found.wanted, len(found.replicas)) == ("ready", 2, 2)
    finally:
        deployer_of(settings, "lane").stop()
