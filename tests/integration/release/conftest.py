"""Small real bundles, free ports, and an installation that released its first version."""

import pytest
from release_world import Release, candidate, fill
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
