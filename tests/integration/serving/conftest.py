"""Servers of several replicas, with small real bundles."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from running_server import RunningServer, starting
from small_bundles import _small_bundles, free_ports, make_bundle

__all__ = ["_small_bundles", "free_ports", "make_bundle"]


@pytest.fixture
def start_server(tmp_path: Path, free_ports: Any) -> Iterator[Callable[..., RunningServer]]:
    """start_server(**declaration): a running server; it is ended with the test."""
    with starting(tmp_path, free_ports) as start:
        yield start


@pytest.fixture(scope="module")
def start_shared_server(
    tmp_path_factory: pytest.TempPathFactory, free_ports: Any
) -> Iterator[Callable[..., RunningServer]]:
    """As `start_server`, for servers that the tests of a module share."""
    with starting(tmp_path_factory.mktemp("shared"), free_ports) as start:
        yield start


@pytest.fixture
def wait_for() -> Callable[..., None]:
    """wait_for(condition, seconds=30)."""

    def wait(condition: Callable[[], Any], seconds: float = 30.0) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, "timed out"
            time.sleep(0.01)

    return wait
