"""The same rows make the same snapshot, wherever they are kept, and no secret travels with them."""

import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from services.json_api import TOKEN, JsonApi
from services.row_places import fill_postgres, fill_sqlite, records_of

from ferryman.runtime.connections import Connection, GivenConnections
from ferryman.runtime.messages import StepRequest
from ferryman.settings import Settings
from ferryman.spec.loader import load_model
from ferryman.spec.model import DeclaredModel
from ferryman.spec.windows import day_window
from ferryman.steps.contract import run_step

if TYPE_CHECKING:
    import pandas as pd
    from services.postgres import PostgresServer

HOURS = pa.schema(
    {
        "observed_at": pa.timestamp("us", "UTC"),
        "station": pa.string(),
        "sky": pa.string(),
        "humidity": pa.float64(),
        "clouds": pa.int64(),
        "millimetres": pa.float64(),
    }
)
PAGES = {
    "records": "data.items",
    "count": "meta.total",
    "paging": {"cursor": "meta.next"},
    "per_second": 1_000,
}


@dataclass
class Places:
    """The hours of rain, in every place that a source can read."""

    model: DeclaredModel
    settings: Settings
    hours: Any
    connections: GivenConnections
    secrets: tuple[str, ...]

    def ingest(self, place: dict[str, Any], name: str) -> tuple[str, str]:
        """The id of a day's snapshot that is read from a place; and all that was written."""
        file = self.model.file
        declared = yaml.safe_load(file.read_text())
        source = declared["data"]["sources"]["hours"]
        kept = {key: source[key] for key in ("event_time", "columns")}
        declared["data"]["sources"]["hours"] = {**kept, **place}
        file.write_text(yaml.safe_dump(declared))
        model = load_model(file)
        home = self.settings.home / name
        settings = self.settings.model_copy(update={"home": home, "data_root": home / "data"})
        request = StepRequest(
            model="rain",
            step="ingest",
            run_id="day",
            run_uri=str(home / "run"),
            window=day_window(self.hours["observed_at"][30].as_py()),
            spec_digest=model.digest,
        )
        result = run_step(request, model, settings, self.connections)
        written = [path.read_bytes() for path in home.rglob("*") if path.is_file()]
        texts = b"\n".join(written).decode("utf-8", "replace")
        [snapshot] = result.outputs["snapshots"]
        assert snapshot["rows"] == 96
        return snapshot["id"], texts + result.model_dump_json()


@pytest.fixture
def places(
    rain: DeclaredModel,
    rain_hours: "Callable[..., pd.DataFrame]",
    postgres: "PostgresServer",
    tmp_path: Path,
) -> Iterator[Places]:
    hours = pa.Table.from_pandas(rain_hours(3), preserve_index=False).cast(HOURS)
    source_root = tmp_path / "source"
    (source_root / "rain").mkdir(parents=True)
    pq.write_table(hours, source_root / "rain" / "hours.parquet")
    lines = [json.dumps(record) + "\n" for record in records_of(hours)]
    (source_root / "rain" / "hours.jsonl").write_text("".join(reversed(lines)))
    url = fill_sqlite(tmp_path / "rain.db", "hours", hours)
    fill_postgres(postgres, "hours", hours)
    (rain.folder / "hours.sql").write_text("SELECT * FROM hours WHERE observed_at < :end")
    with JsonApi(records_of(hours), page_size=37) as api:
        yield Places(
            model=rain,
            settings=Settings(home=tmp_path / "home", source_root=source_root),
            hours=hours,
            connections=GivenConnections(
                Connection("local", url), postgres.connection("fleet"), api.connection("api")
            ),
            secrets=(postgres.password, TOKEN),
        )


def test_one_snapshot_from_files_databases_and_an_api(
    places: Places, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    declared: dict[str, dict[str, Any]] = {
        "parquet": {"kind": "files", "path": "rain/hours.parquet"},
        "json lines": {"kind": "files", "path": "rain/hours.jsonl"},
        "sqlite": {"kind": "sql", "connection": "local", "table": "hours"},
        "postgres": {"kind": "sql", "connection": "fleet", "table": "hours", "batch_rows": 10},
        "query": {"kind": "sql", "connection": "fleet", "query": "hours.sql"},
        "http": {"kind": "http", "connection": "api", "path": "/hours", **PAGES},
    }
    found = {name: places.ingest(place, name) for name, place in declared.items()}
    assert len({identity for identity, _ in found.values()}) == 1
    assert "sql fleet:hours" in found["postgres"][1]
    assert "GET /hours" in found["http"][1]
    for secret in places.secrets:
        for name, (_, written) in found.items():
            assert secret not in written, name
        assert secret not in caplog.text
