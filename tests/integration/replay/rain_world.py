"""A month of rain whose cause turns round in the middle, lived once for all tests here."""

import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import yaml

from ferryman.replay import ReplayReport
from ferryman.settings import Settings

RAIN = Path(__file__).parents[2] / "zoo" / "rain"
FIRST, LAST = datetime(2024, 1, 21, tzinfo=UTC), datetime(2024, 1, 30, tzinfo=UTC)
TURN = pd.Timestamp("2024-01-23", tz="UTC")
MONITOR = {
    "quality": {"metric": "log_loss", "window": "2d", "min_labels": 90, "tolerance": 0.05},
    "drift": {"effect": 0.25, "significance": 0.001, "window": "3d", "min_rows": 90},
    "retrain": {"cool_down": "2d", "per_week": 3, "max_age": "28d"},
}


class World(NamedTuple):
    """An installation, and what its replay reported and showed."""

    settings: Settings
    report: ReplayReport
    shown: dict[str, tuple[int, int]]


def write_rain(root: Path) -> None:
    """January, 12 stations, every hour: dry air brings rain after the turn, damp air before it."""
    random = np.random.default_rng(5)
    hours = pd.date_range("2024-01-01", "2024-01-31 23:00", freq="h", tz="UTC")
    stations = [f"station {number}" for number in range(12)]
    frame = pd.DataFrame(
        [(at, name) for at in hours for name in stations], columns=["observed_at", "station"]
    )
    rows = len(frame)
    frame["sky"] = random.choice(["clear", "grey", "black"], rows)
    frame["humidity"] = random.normal(60, 15, rows)
    frame["clouds"] = random.integers(0, 9, rows).astype("float64")
    way = np.where(frame["observed_at"] < TURN, 0.12, -0.12)
    wet = random.random(rows) < 1 / (1 + np.exp(-way * (frame["humidity"] - 60)))
    frame["millimetres"] = np.where(wet, 1.5, 0.0)
    frame.loc[random.random(rows) < 0.02, "millimetres"] = None  # never measured
    (root / "rain").mkdir(parents=True)
    frame.to_parquet(root / "rain" / "hours_2024-01.parquet", index=False)


def make_settings(root: Path, home: Path) -> Settings:
    """An installation whose only model is rain, with a few days' memory and its monitor's rules."""
    if not (root / "sources").exists():
        write_rain(root / "sources")
        folder = Path(shutil.copytree(RAIN, root / "zoo" / "rain"))
        declared = yaml.safe_load((folder / "model.yaml").read_text())
        declared["train"] |= {"window": "3d", "holdout": "1d"}
        declared["gates"] |= {"thresholds": {"log_loss": {"max": 5.0}}, "min_rows": 80}
        declared["monitor"] = MONITOR
        (folder / "model.yaml").write_text(yaml.safe_dump(declared))
    return Settings(
        home=home, zoo=root / "zoo", source_root=root / "sources", code_version="0" * 40
    )
