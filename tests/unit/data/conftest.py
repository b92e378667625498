"""A small declared world: trips with an outcome, and the weather that they meet."""

import datetime as dt
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from ferryman.data.sources.memory_source import MemorySource
from ferryman.data.sources.source import Source
from ferryman.data.windows.ingestion import IngestedWindow, Ingestion
from ferryman.data.windows.query import QueryEngine
from ferryman.spec.model import DeclaredModel, ModelSpec
from ferryman.spec.windows import Window, day_window

TIME = pa.timestamp("us", "UTC")
FEATURES_SQL = """
SELECT trips.began AS event_time, trips.line, trips.distance, weather.temp, weather.hour AS known
FROM trips
ASOF LEFT JOIN weather ON weather.hour <= trips.began
"""
LABELS_SQL = "SELECT began AS event_time, line, delay > 15 AS late FROM trips"
DECLARATION: dict[str, Any] = {
    "spec_version": 1,
    "name": "trips",
    "description": "Is a trip late?",
    "owner": {"team": "tests", "contact": "tests@example.org"},
    "data": {
        "sources": {
            "trips": {
                "kind": "files",
                "path": "trips.parquet",
                "event_time": "began",
                "lookback": "7d",
                "columns": {
                    "began": {"type": "timestamp"},
                    "line": {"type": "category", "nullable": True},
                    "distance": {"type": "integer"},
                    "delay": {"type": "number", "nullable": True, "known": "later"},
                },
            },
            "weather": {
                "kind": "files",
                "path": "weather.parquet",
                "event_time": "hour",
                "lookback": "6h",
                "columns": {
                    "hour": {"type": "timestamp"},
                    "temp": {"type": "number", "nullable": True},
                },
            },
        },
        "label": {"name": "late", "sql": "labels.sql", "known_after": "1d"},
    },
    "features": {
        "sql": "features.sql",
        "entity": ["line"],
        "columns": {
            "line": {"type": "category"},
            "distance": {"type": "integer"},
            "temp": {"type": "number", "known_at": "known"},
        },
    },
    "train": {
        "framework": "sklearn",
        "task": "binary",
        "pipeline": "pipeline.py:build",
        "window": "4d",
        "holdout": "2d",
    },
    "gates": {"thresholds": {"roc_auc": {"min": 0.5}}},
}


def at(day: int, hour: int = 0, minute: int = 0, year: int = 2013) -> dt.datetime:
    """A moment of January."""
    return dt.datetime(year, 1, 1, hour, minute, tzinfo=dt.UTC) + dt.timedelta(days=day - 1)


def window(day: int, year: int = 2013) -> Window:
    """One day of January."""
    return day_window(at(day, year=year))


@dataclass
class World:
    """Trips at 06:30 (A) and 18:30 (B) of 20 days, 16 minutes late on every third day."""

    folder: Path
    engine: QueryEngine
    declaration: dict[str, Any]
    features_sql: str = FEATURES_SQL
    labels_sql: str = LABELS_SQL
    trips: list[dict[str, Any]] = field(default_factory=list)
    weather: list[dict[str, Any]] = field(default_factory=list)

    def model(self) -> DeclaredModel:
        """The declaration with its queries, written down."""
        (self.folder / "features.sql").write_text(self.features_sql)
        (self.folder / "labels.sql").write_text(self.labels_sql)
        spec = ModelSpec.model_validate(self.declaration)
        return DeclaredModel(
            spec=spec, folder=self.folder, file=self.folder / "model.yaml", digest="d"
        )

    def sources(self) -> dict[str, Source]:
        """The rows as sources."""
        data = self.model().spec.data
        spec, share = data.sources, data.max_rejected
        trips = pa.Table.from_pylist(
            self.trips,
            pa.schema(
                [
                    ("began", TIME),
                    ("line", pa.string()),
                    ("distance", pa.int64()),
                    ("delay", pa.float64()),
                ]
            ),
        )
        weather = pa.Table.from_pylist(
            self.weather, pa.schema([("hour", TIME), ("temp", pa.float64())])
        )
        return {
            "trips": MemorySource("trips", spec["trips"], trips, max_rejected=share),
            "weather": MemorySource("weather", spec["weather"], weather),
        }

    def ingestion(self) -> Ingestion:
        """What builds windows of this world as it is now."""
        return Ingestion(self.model(), self.sources(), self.engine)

    def build(self, day: int, year: int = 2013) -> IngestedWindow:
        """One day of January, ingested."""
        return self.ingestion().build(window(day, year))


@pytest.fixture(scope="session")
def engine() -> Iterator[QueryEngine]:
    with QueryEngine() as opened:
        yield opened


@pytest.fixture
def world(tmp_path: Path, engine: QueryEngine) -> World:
    import copy

    made = World(folder=tmp_path, engine=engine, declaration=copy.deepcopy(DECLARATION))
    for day in range(1, 21):
        for line, hour in (("A", 6), ("B", 18)):
            delay = 16.0 if day % 3 == 0 else 3.0
            made.trips.append(
                {"began": at(day, hour, 30), "line": line, "distance": 10 * day, "delay": delay}
            )
        made.weather += [{"hour": at(day, hour), "temp": day + hour / 24} for hour in range(24)]
    return made


Build = Callable[[int], IngestedWindow]
