"""A replay of ten days, lived once for all tests here."""

from collections.abc import Callable
from pathlib import Path

import pytest
from rain_world import FIRST, LAST, World, make_settings

from ferryman.replay import run_replay
from ferryman.settings import Settings


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("replay")


@pytest.fixture(scope="session")
def settings_for(root: Path) -> Callable[[str], Settings]:
    """A function: a name -> an installation of its own over the same sources and zoo."""
    return lambda name: make_settings(root, root / name)


@pytest.fixture(scope="session")
def world(settings_for: Callable[[str], Settings]) -> World:
    """Ten days, lived under the three policies."""
    settings = settings_for("clean")
    shown: dict[str, tuple[int, int]] = {}
    report = run_replay(
        settings, "rain", FIRST, LAST, lambda what, done, total: shown.update({what: (done, total)})
    )
    return World(settings, report, shown)
