"""SQL sources against real SQLite files, which keep anything anywhere."""

import datetime as dt
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from ferryman.data.sources.sql_source import SqlSource
from ferryman.errors import (
    DataRejected,
    DependencyUnavailable,
    FerrymanError,
    SpecError,
)
from ferryman.runtime.connections import Connection, GivenConnections
from ferryman.spec.sources import SqlSourceSpec
from ferryman.spec.windows import day_window

DAY = day_window(dt.datetime(2013, 1, 2, tzinfo=dt.UTC))
Open = Callable[..., SqlSource]


@pytest.fixture
def fleet(tmp_path: Path) -> Callable[..., SqlSource]:
    """A SQLite file made by some statements, opened as the table `trips`."""

    def make(*statements: str, query: str | None = None, **changes: Any) -> SqlSource:
        file = tmp_path / "fleet & co.db"
        with closing(sqlite3.connect(file)) as opened, opened:
            for statement in statements:
                opened.execute(statement)
        given: dict[str, Any] = {"kind": "sql", "connection": "fleet", "event_time": "at"}
        given["columns"] = {"at": {"type": "timestamp"}, "n": {"type": "integer"}}
        if query is None:
            given["table"] = "trips"
        else:
            (tmp_path / "trips.sql").write_text(query)
            given["query"] = "trips.sql"
        declared = SqlSourceSpec.model_validate(given | changes)
        url = f"sqlite:///{str(file).replace(' ', '%20')}"
        return SqlSource("trips", declared, GivenConnections(Connection("fleet", url)), tmp_path)

    return make


TRIPS = "CREATE TABLE trips (at, n)"


def insert(values: str) -> str:
    return " ".join(("INSERT INTO trips VALUES", values))


def test_sqlite_chooses_by_time_in_every_form_it_is_written(fleet: Open) -> None:
    inside = ["2013-01-02T00:00:00Z", "2013-01-02 12:30:00+00:00", "2013-01-03T13:59:59.5+14:00"]
    outside = ["2013-01-01T23:59:59Z", "2013-01-03T00:00:00Z", "2013-01-02 01:00:00+02:00"]
    rows = [f"('{at}', {n})" for n, at in enumerate([*inside, *outside])]
    read = fleet(TRIPS, insert(", ".join(rows))).read(DAY, DAY)
    assert sorted(read.table.column("n").to_pylist()) == [0, 1, 2]
    assert read.parts[0].rows == 3 + 2  # SQLite's clock has whole seconds


@pytest.mark.parametrize(
    ("at", "n", "text"),
    [
        ("'2013-01-02'", "1", "is no time with a zone"),
        ("'2013-01-02 10:00:00'", "1", "is no time with a zone"),
        ("'yesterday'", "1", "'yesterday' is no time with a zone"),
        ("1357084800", "1", "column 'at', row 1: 1357084800 is no time"),
        ("NULL", "1", "without a time a row belongs to no window"),
        ("'2013-01-02T10:00:00Z'", "'7'", "column 'n', row 1: \"7\" is no whole number of 64 bits"),
        ("'2013-01-02T10:00:00Z'", "7.5", "row 1: 7.5 is no whole number of 64 bits"),
        ("'2013-01-02T10:00:00Z'", "x'00ff'", "is no whole number of 64 bits"),
    ],
)
def test_sqlite_keeps_anything_and_it_is_judged(fleet: Open, at: str, n: str, text: str) -> None:
    with pytest.raises(DataRejected) as caught:
        fleet(TRIPS, insert(f"({at}, {n})")).read(DAY, DAY)
    assert text in caught.value.text


def test_sqlite_times_on_a_declared_clock(fleet: Open) -> None:
    columns = {"at": {"type": "timestamp", "zone": "America/New_York"}, "n": {"type": "integer"}}
    rows = "('2013-01-01 19:00:00', 1), ('2013-01-02 18:59:59', 2), ('2013-01-02 19:00:00', 3)"
    read = fleet(TRIPS, insert(rows), columns=columns).read(DAY, DAY)
    assert read.table.column("n").to_pylist() == [1, 2]


def test_sqlite_faults(fleet: Open, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"no table 'trips'.* did you mean 'trip'"):
        fleet("CREATE TABLE trip (at, n)").read(DAY, DAY)
    with pytest.raises(DataRejected, match="trips holds no rows at all"):
        fleet(TRIPS).read(DAY, DAY)
    with pytest.raises(SpecError, match=r"trips\.sql: no such column: m"):
        fleet(query="SELECT m FROM trips").read(DAY, DAY)
    endless = (
        "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t) SELECT '' AS at, n FROM t"
    )
    with pytest.raises(DependencyUnavailable, match="it took too long"):
        fleet(query=endless, timeout="1s").read(DAY, DAY)
    source = fleet(timeout="1s")
    with closing(sqlite3.connect(tmp_path / "fleet & co.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(DependencyUnavailable, match="is away: database is locked"):
            source.read(DAY, DAY)
    (tmp_path / "fleet & co.db").write_bytes(b"no database at all, but a text" * 50)
    with pytest.raises(DataRejected, match="file is not a database"):
        source.read(DAY, DAY)


@pytest.mark.parametrize(
    ("url", "kind", "text"),
    [
        ("sqlite:////no/such/fleet.db", DependencyUnavailable, "no file /no/such/fleet.db"),
        ("sqlite:///fleet.db", SpecError, "must be given by its whole path"),
        ("sqlite://", SpecError, "must be given by its whole path"),
    ],
)
def test_a_sqlite_file_that_is_not_there_is_not_made(
    tmp_path: Path, url: str, kind: type[FerrymanError], text: str
) -> None:
    columns: Any = {"n": {"type": "integer"}}
    spec = SqlSourceSpec(kind="sql", connection="fleet", table="trips", columns=columns)
    source = SqlSource("trips", spec, GivenConnections(Connection("fleet", url)), tmp_path)
    with pytest.raises(kind, match=text):
        source.read(None)


def test_sqlite_truths_are_zero_and_one(fleet: Open) -> None:
    columns = {"wet": {"type": "boolean"}}
    made = ("CREATE TABLE trips (wet BOOLEAN)", "INSERT INTO trips VALUES (0), (1)")
    read = fleet(*made, columns=columns, event_time=None).read(None)
    assert read.table.column("wet").to_pylist() == [False, True]
    with pytest.raises(DataRejected, match="row 3: 2 is neither true nor false"):
        fleet("INSERT INTO trips VALUES (2)", columns=columns, event_time=None).read(None)
