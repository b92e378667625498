"""The engine of this machine and the image of a replica; without an engine these tests fail."""

from collections.abc import Iterator
from typing import Any

import docker
import pytest
from services.serving_image import build_image
from small_bundles import _small_bundles, free_ports, make_bundle

__all__ = ["_small_bundles", "free_ports", "make_bundle"]


@pytest.fixture(scope="session")
def client() -> Iterator[Any]:
    client = docker.from_env(timeout=600)
    yield client
    client.close()


@pytest.fixture(scope="session")
def image(client: Any) -> str:
    """The id of the image, sha256:..., built from the Dockerfile."""
    return build_image(client)
