"""Every source keeps the same promises, wherever its rows are."""

import datetime as dt
import gzip
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from services.json_api import JsonApi
from services.row_places import fill_postgres, fill_sqlite, records_of

from ferryman.data.sources.files_source import FilesSource
from ferryman.data.sources.http_source import HttpSource
from ferryman.data.sources.memory_source import MemorySource
from ferryman.data.sources.source import Source
from ferryman.data.sources.sql_source import SqlSource
from ferryman.errors import DataRejected
from ferryman.runtime.connections import Connection, GivenConnections
from ferryman.runtime.local_object_store import LocalObjectStore
from ferryman.spec.sources import FilesSourceSpec, HttpSourceSpec, SqlSourceSpec
from ferryman.spec.windows import Window

Maker = Callable[..., Source]
TYPES = {
    "at": pa.timestamp("us", "UTC"),
    "place": pa.string(),
    "heat": pa.float64(),
    "wet": pa.bool_(),
    "count": pa.int64(),
}


def moment(hour: int) -> dt.datetime:
    return dt.datetime(2013, 1, 1, tzinfo=dt.UTC) + dt.timedelta(hours=hour)


def span(first: int, last: int) -> Window:
    return Window(start=moment(first), end=moment(last))


def rows(hours: int = 72) -> dict[str, list[object]]:
    return {
        "at": [moment(hour) for hour in range(hours)],
        "place": ["north" if hour % 2 else "south" for hour in range(hours)],
        "heat": [None if hour == 5 else hour / 2 for hour in range(hours)],
        "wet": [hour % 3 == 0 for hour in range(hours)],
        "count": list(range(hours)),
    }


def declared(**changes: Any) -> dict[str, Any]:
    return {
        "event_time": "at",
        "columns": {
            "place": {"type": "category"},
            "at": {"type": "timestamp"},
            "heat": {"type": "number", "nullable": True},
            "wet": {"type": "boolean"},
            "count": {"type": "integer"},
        },
        **changes,
    }


def spec(kind: str, **changes: Any) -> FilesSourceSpec:
    values = declared(kind="files", path=f"rows.{kind}", **changes)
    return FilesSourceSpec.model_validate(values)


def open_sql(connection: Connection, folder: Path, share: float, **changes: Any) -> Source:
    given = {"kind": "sql", "connection": connection.name, "table": "rows", **changes}
    sql = SqlSourceSpec.model_validate(declared(batch_rows=7, **given))
    return SqlSource("rows", sql, GivenConnections(connection), folder, max_rejected=share)


def open_http(api: JsonApi, share: float, **changes: Any) -> Source:
    paging = {"cursor": "meta.next"}
    given = {"kind": "http", "connection": "api", "path": "/rows", "records": "data.items"}
    values = declared(**given, paging=paging, per_second=10_000, count="meta.total", **changes)
    http = HttpSourceSpec.model_validate(values)
    return HttpSource("rows", http, GivenConnections(api.connection()), max_rejected=share)


def write_parquet(table: Any, folder: Path, row_group_size: int | None = None) -> str:
    pq.write_table(table, folder / "rows.parquet", row_group_size=row_group_size)
    return "parquet"


def write_csv(table: Any, folder: Path) -> str:
    place = table.column_names.index("at")
    text = table.set_column(place, "at", table.column("at").cast(pa.string()))
    options = pyarrow.csv.WriteOptions(quoting_style="needed")
    pyarrow.csv.write_csv(text, folder / "rows.csv", options)
    return "csv"


def write_json_lines(table: Any, folder: Path) -> str:
    lines = [json.dumps(row, default=str) + "\n" for row in table.to_pylist()]
    (folder / "rows.jsonl").write_text("".join(lines))
    return "jsonl"


def write_packed(table: Any, folder: Path) -> str:
    kind = write_csv(table, folder)
    (folder / f"rows.{kind}.gz").write_bytes(gzip.compress((folder / f"rows.{kind}").read_bytes()))
    return f"{kind}.gz"


FILES: dict[str, Callable[[Any, Path], str]] = {
    "parquet": write_parquet,
    "parquet in row groups": lambda table, folder: write_parquet(table, folder, 10),
    "csv": write_csv,
    "packed csv": write_packed,
    "json lines": write_json_lines,
}


@pytest.fixture
def api() -> Iterator[JsonApi]:
    with JsonApi() as opened:
        yield opened


@pytest.fixture(params=["memory", *FILES, "sqlite", "postgres", "http"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Maker:
    def maker(
        values: dict[str, list[object]] | None = None, share: float = 0.0, **changes: Any
    ) -> Source:
        table = pa.table(rows() if values is None else values)
        for name, kind in TYPES.items():
            if name in table.column_names and not any(
                isinstance(v, str) for v in table[name].to_pylist()
            ):
                place = table.column_names.index(name)
                table = table.set_column(place, name, table.column(name).cast(kind))
        if request.param == "memory":
            return MemorySource("rows", spec("csv", **changes), table, max_rejected=share)
        if request.param == "sqlite":
            url = fill_sqlite(tmp_path / "rows.db", "rows", table)
            return open_sql(Connection("rows", url), tmp_path, share, **changes)
        if request.param == "postgres":
            server = request.getfixturevalue("postgres")
            fill_postgres(server, "rows", table)
            return open_sql(server.connection("rows"), tmp_path, share, **changes)
        if request.param == "http":
            api = request.getfixturevalue("api")
            api.records = records_of(table)
            return open_http(api, share, **changes)
        kind = FILES[request.param](table, tmp_path)
        store = LocalObjectStore(tmp_path)
        return FilesSource("rows", spec(kind, **changes), store, max_rejected=share)

    return maker


def test_rows_of_the_span_in_declared_order_and_type(make: Maker) -> None:
    read = make().read(span(24, 48), span(24, 48))
    assert read.table.column_names == ["place", "at", "heat", "wet", "count"]
    assert {field.name: field.type for field in read.table.schema} == TYPES
    assert read.table.column("count").to_pylist() == list(range(24, 48))
    assert read.cleaning.dropped == 0


def test_the_start_belongs_to_the_span_and_the_end_does_not(make: Maker) -> None:
    assert make().read(span(3, 4)).table.column("at").to_pylist() == [moment(3)]


def test_all_rows_where_no_span_is_given(make: Maker) -> None:
    assert make().read(None).table.num_rows == 72


def test_a_span_without_rows_is_an_empty_table(make: Maker) -> None:
    read = make().read(span(1_000, 1_024), span(1_000, 1_024))
    assert read.table.num_rows == 0
    assert {field.name: field.type for field in read.table.schema} == TYPES


def test_null_is_kept(make: Maker) -> None:
    assert make().read(span(5, 6)).table.column("heat").to_pylist() == [None]


def test_a_bad_cell_names_column_place_and_value(make: Maker) -> None:
    values = rows()
    values["place"][30] = None
    source = make(values)
    with pytest.raises(
        DataRejected,
        match=r"column 'place', (row 31|line 3[12]|row 7|page 2, record 6): (null|'') is null",
    ):
        source.read(span(24, 48))
    assert source.read(span(0, 24)).table.num_rows == 24  # a bad row of another day


def test_a_missing_and_an_extra_column(make: Maker) -> None:
    values = rows()
    values["hat"] = values.pop("heat")
    with pytest.raises(DataRejected, match=r"column 'heat' is missing \(renamed to 'hat'\?\)"):
        make(values).read(span(0, 24))


def test_bad_rows_up_to_the_declared_share_are_dropped_and_counted(make: Maker) -> None:
    values = rows()
    values["place"][1] = values["place"][2] = None
    read = make(values, share=0.1).read(span(0, 24))
    assert (read.table.num_rows, read.cleaning.dropped) == (22, 2)
    with pytest.raises(DataRejected, match="2 of 24 rows are bad"):
        make(values, share=0.05).read(span(0, 24))


def test_a_source_without_rows_is_refused(make: Maker) -> None:
    with pytest.raises(DataRejected, match=r"no (rows|records)|empty"):
        make(rows(0)).read(span(0, 24), span(0, 24))
