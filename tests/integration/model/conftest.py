"""A small model with published windows: real files, really ingested."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from training_line import DAYS, Line

from ferryman.settings import Settings
from ferryman.spec.loader import load_model
from ferryman.spec.model import DeclaredModel


@pytest.fixture
def make_line(tmp_path: Path, rain: DeclaredModel, empty_mlflow: Path) -> Callable[..., Line]:
    """A function (frame) -> its published windows, and an empty tracking database.

    The model is read again, so a test may change its folder before.
    """

    def make(frame: pd.DataFrame) -> Line:
        source = tmp_path / "source" / "rain"
        source.mkdir(parents=True)
        frame.to_parquet(source / "hours_2024-01.parquet")
        settings = Settings(
            root=tmp_path,
            home=tmp_path / "home",
            zoo=rain.folder.parent,
            source_root=source.parent,
            code_version="test",
        )
        shutil.copytree(empty_mlflow, settings.home / "mlflow")
        made = Line(settings, load_model(rain.folder))
        made.publish()
        return made

    return make


@pytest.fixture
def line(make_line: Callable[..., Line], rain_hours: Callable[..., pd.DataFrame]) -> Line:
    """24 days of published windows, and an empty tracking database."""
    return make_line(rain_hours(DAYS))
