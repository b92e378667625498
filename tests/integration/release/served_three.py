"""Three versions that served one after another, for tests of what comes after a release."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from rollback_world import Client, World, serve_three, started

from ferryman.settings import Settings


@pytest.fixture(scope="module")
def served(
    template: Settings,
    tmp_path_factory: pytest.TempPathFactory,
    free_ports: Callable[[int], list[int]],
    make_bundle: Callable[..., Any],
) -> Settings:
    """The installation as it was left, its server stopped."""
    home = tmp_path_factory.mktemp("served") / "home"
    return serve_three(template, home, free_ports(2), make_bundle)


@pytest.fixture
def world(
    served: Settings,
    tmp_path: Path,
    free_ports: Callable[[int], list[int]],
    make_bundle: Callable[..., Any],
) -> Iterator[World]:
    """Versions 1, 3 and 2 served, in this order; version 2 serves at epoch 3.

    Whatever a test does, a client asks meanwhile, and every answer must be right.
    """
    with started(served, tmp_path / "home", free_ports(2), make_bundle) as world:
        with Client(world) as client:
            yield world
        assert (client.wrong, bool(client.versions)) == ([], True)
