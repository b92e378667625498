"""A small model with published windows: real files, really ingested."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from training_line import DAYS, Line

from ferryman.settings import Settings
from ferryman.spec.model import DeclaredModel


@pytest.fixture
def line(
    tmp_path: Path, rain: DeclaredModel, rain_hours: Callable[..., pd.DataFrame], empty_mlflow: Path
) -> Line:
    """24 days of published windows, and an empty tracking database."""
    source = tmp_path / "source" / "rain"
    source.mkdir(parents=True)
    rain_hours(DAYS).to_parquet(source / "hours_2024-01.parquet")
    settings = Settings(
        root=tmp_path,
        home=tmp_path / "home",
        zoo=rain.folder.parent,
        source_root=source.parent,
        code_version="test",
    )
    shutil.copytree(empty_mlflow, settings.home / "mlflow")
    made = Line(settings, rain)
    made.publish()
    return made
