"""An installation of the real flights model, whose data may be damaged; an API of places."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from places_api import RECORDS, SPAN, Open
from services.json_api import JsonApi

from ferryman.data.sources.http_source import HttpSource
from ferryman.runtime.connections import Connection, GivenConnections
from ferryman.runtime.messages import StepResult
from ferryman.settings import Settings
from ferryman.spec.loader import load_model
from ferryman.spec.model import DeclaredModel
from ferryman.spec.sources import HttpSourceSpec
from ferryman.spec.windows import Window
from ferryman.steps.journey import Journey

ROOT = Path(__file__).parents[3]
SAMPLES = ROOT / "include" / "sample_data" / "flights"


@dataclass
class Installation:
    """Settings, and the folder of the model's raw files."""

    settings: Settings

    @property
    def raw(self) -> Path:
        """Where the raw files are."""
        return self.settings.source_root / "flights"

    @property
    def folder(self) -> Path:
        """The model's folder."""
        return self.settings.zoo / "flights"

    def model(self) -> DeclaredModel:
        """The declaration as it is now."""
        return load_model(self.folder)

    def run(
        self, what: str, first: str, days: int = 1, run_id: str | None = None
    ) -> list[StepResult]:
        """Run a step or pipeline on days, each time as a new run unless it is named."""
        start = datetime.fromisoformat(first).replace(tzinfo=UTC)
        span = Window(start=start, end=start + timedelta(days=days))
        name = run_id or f"run {datetime.now(UTC).isoformat()}"
        return list(Journey(self.settings, self.model()).run(what, window=span, run_id=name))

    def data_files(self) -> set[str]:
        """Every file and folder of the data root, hidden ones too, but for the notes of days."""
        root = self.settings.data_root
        names = {path.relative_to(root).as_posix() for path in root.rglob("*")}
        return {name for name in names if "/used/" not in name}

    def rewrite(self, name: str, change: Callable[[Any], Any]) -> None:
        """Replace a Parquet file by a changed table."""
        file = self.raw / name
        pq.write_table(change(pq.read_table(file)), file)

    def use_csv(self, *days: str) -> None:
        """Deliver the flights of some days as CSV instead; the declaration is changed to it."""
        declaration = self.folder / "model.yaml"
        text = declaration.read_text()
        declared = "flights/days/flights_{year}-{month}-{day}.parquet"
        assert declared in text
        declaration.write_text(text.replace(declared, declared.replace(".parquet", ".csv")))
        for day in days:
            file = self.raw / "days" / f"flights_{day}.parquet"
            table = pq.read_table(file)
            place = table.column_names.index("time_hour")
            texts = pc.cast(table.column("time_hour"), pa.string())
            options = pyarrow.csv.WriteOptions(quoting_style="needed")
            pyarrow.csv.write_csv(
                table.set_column(place, "time_hour", texts), file.with_suffix(".csv"), options
            )


def install(folder: Path) -> Installation:
    """The raw files of two months and the declared model in a folder."""
    raw = folder / "raw" / "flights"
    raw.mkdir(parents=True)
    (raw / "days").mkdir()
    for month in ("2013-01", "2013-02"):
        for file in (SAMPLES / "days").glob(f"flights_{month}-*.parquet"):
            shutil.copy(file, raw / "days")
        shutil.copy(SAMPLES / f"weather_{month}.parquet", raw)
    shutil.copy(SAMPLES / "fleet.db", raw)
    zoo = folder / "zoo"
    shutil.copytree(ROOT / "include" / "model_zoo" / "flights", zoo / "flights")
    settings = Settings(
        root=folder,
        home=folder / "home",
        zoo=zoo,
        source_root=folder / "raw",
        connections_file=ROOT / "include" / "connections.yaml",
        cpus=2,
    )
    return Installation(settings)


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    """An installation in which nothing has been ingested yet."""
    return install(tmp_path)


@pytest.fixture(scope="session")
def first_day(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data root of an installation that has ingested 2013-01-01."""
    made = install(tmp_path_factory.mktemp("first_day"))
    made.run("ingest", "2013-01-01")
    return made.settings.data_root


@pytest.fixture
def begun(installation: Installation, first_day: Path) -> Installation:
    """An installation that has ingested 2013-01-01."""
    shutil.copytree(first_day, installation.settings.data_root)
    return installation


@pytest.fixture
def api() -> Iterator[JsonApi]:
    with JsonApi([dict(record) for record in RECORDS], page_size=10) as opened:
        yield opened


@pytest.fixture
def open_source(api: JsonApi) -> Open:
    def make(connection: Connection | None = None, **changes: Any) -> HttpSource:
        given: dict[str, Any] = {
            "kind": "http",
            "connection": "api",
            "path": "/places",
            "query": SPAN,
            "records": "data.items",
            "count": "meta.total",
            "paging": {"cursor": "meta.next"},
            "per_second": 1_000,
            "attempts": 4,
            "event_time": "at",
            "columns": {
                "at": {"type": "timestamp"},
                "place": {"type": "category"},
                "n": {"type": "integer"},
                "heat": {"type": "number", "nullable": True},
            },
        }
        declared = HttpSourceSpec.model_validate(given | changes)
        connections = GivenConnections(connection or api.connection())
        return HttpSource("places", declared, connections, pause=0.01)

    return make
