"""The project's own models, on the project's own sample data, in a state of the test's own."""

import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ferryman.settings import Settings
from ferryman.spec.loader import load_model
from ferryman.spec.windows import Window
from ferryman.steps.journey import Journey


@pytest.fixture
def journey_of(tmp_path: Path, empty_mlflow: Path) -> Callable[[str], Journey]:
    """A function (name) -> the steps of that model, on an empty state."""

    def make(name: str) -> Journey:
        settings = Settings(home=tmp_path / "home", code_version="test")
        shutil.copytree(empty_mlflow, settings.home / "mlflow")
        return Journey(settings, load_model(settings.zoo / name))

    return make


@pytest.fixture
def january() -> Callable[[int], Window]:
    """A function (days) -> the first days of January 2024."""
    start = datetime(2024, 1, 1, tzinfo=UTC)
    return lambda days: Window(start=start, end=start.replace(day=1 + days))
