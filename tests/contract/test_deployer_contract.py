"""What every deployer keeps, whatever it deploys to."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from small_bundles import free_ports

from ferryman.deployment.deployer import Deployer
from ferryman.deployment.process.process_deployer import ProcessDeployer
from ferryman.errors import DependencyUnavailable
from ferryman.settings import Settings

__all__ = ["free_ports"]

ADAPTERS = [ProcessDeployer]


@pytest.fixture(params=ADAPTERS, ids=lambda adapter: adapter.__name__)
def deployer(request: pytest.FixtureRequest, tmp_path: Path, free_ports) -> Iterator[Deployer]:
    port, admin_port = free_ports(2)
    settings = Settings(home=tmp_path, serving_port=port, serving_admin_port=admin_port)
    deployer = request.param(settings)
    yield deployer
    deployer.stop()


def test_life_of_a_deployment(deployer: Deployer) -> None:
    assert deployer.status().state == "stopped"
    assert deployer.stop().state == "stopped"
    first = deployer.start()
    assert first.state == "ready" and first.process
    assert deployer.start() == first == deployer.status()
    url = f"{first.url}/v2/health/ready"
    assert httpx.get(url, trust_env=False).json() == {"ready": True, "models": []}
    assert deployer.stop().state == "stopped" == deployer.status().state
    with pytest.raises(httpx.TransportError):
        httpx.get(url, trust_env=False)
    again = deployer.start()
    assert again.state == "ready" and again.process != first.process


def test_a_server_is_scaled_up_and_down(deployer: Deployer) -> None:
    with pytest.raises(DependencyUnavailable):
        deployer.scale(2)  # there is none
    assert (deployer.start().wanted, len(deployer.status().replicas)) == (1, 1)
    for count in (3, 1):
        scaled = deployer.scale(count)
        assert (scaled.state, scaled.wanted) == ("ready", count)
        assert [replica.state for replica in scaled.replicas] == ["ready"] * count
        assert len({replica.name for replica in scaled.replicas}) == count
    deployer.scale(2)
    deployer.stop()
    assert len(deployer.start().replicas) == 2  # remembered until the next time
