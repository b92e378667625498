"""SQL sources against a real PostgreSQL and real SQLite files: rows, order, limits and faults."""

import datetime as dt
import logging
import sqlite3
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import sqlalchemy as sa
from services.postgres import PostgresServer

from ferryman.data.sources.sql_database import SqlDatabase
from ferryman.data.sources.sql_source import SqlSource
from ferryman.errors import (
    DataRejected,
    DependencyUnavailable,
    FerrymanError,
    PolicyRefused,
    SpecError,
)
from ferryman.runtime.connections import Connection, GivenConnections
from ferryman.spec.sources import SqlSourceSpec
from ferryman.spec.windows import Window, day_window

DAY = day_window(dt.datetime(2013, 1, 2, tzinfo=dt.UTC))
COLUMNS: dict[str, Any] = {
    "at": {"type": "timestamp"},
    "Order": {"type": "integer"},
    'we"ird': {"type": "category"},
    "cost": {"type": "number", "nullable": True},
}
Open = Callable[..., SqlSource]


@pytest.fixture
def schema(postgres: PostgresServer) -> Iterator[str]:
    """A schema with the table `trips`: an hour a row, three days, in no order, one time unknown."""
    postgres.run(
        "DROP SCHEMA IF EXISTS fleet CASCADE",
        "CREATE SCHEMA fleet",
        """CREATE TABLE fleet.trips (extra text DEFAULT 'not ours', at timestamptz,
           "Order" int, "we""ird" text, cost numeric(8,2))""",
        """INSERT INTO fleet.trips (at, "Order", "we""ird", cost)
           SELECT timestamptz '2013-01-01 00:00Z' + i * interval '1 hour', i,
                  CASE i % 3 WHEN 0 THEN 'a' WHEN 1 THEN 'B' ELSE 'ä' END, i / 4.0
           FROM generate_series(0, 71) AS i ORDER BY md5(i::text)""",
    )
    yield "fleet"
    postgres.run("DROP SCHEMA fleet CASCADE")


@pytest.fixture
def open_trips(schema: str, postgres: PostgresServer, tmp_path: Path) -> Open:
    """Open the table, or a query, with changes to the declaration or the connection."""

    def make(
        query: str | None = None, connection: Connection | None = None, **changes: Any
    ) -> SqlSource:
        given: dict[str, Any] = {"kind": "sql", "connection": "fleet", "columns": COLUMNS}
        given |= {"event_time": "at", "batch_rows": 10}
        if query is None:
            given["table"] = "fleet.trips"
        else:
            (tmp_path / "trips.sql").write_text(query)
            given["query"] = "trips.sql"
        declared = SqlSourceSpec.model_validate(given | changes)
        connections = GivenConnections(connection or postgres.connection())
        return SqlSource("trips", declared, connections, tmp_path)

    return make


def test_rows_of_the_span_alone_cross_the_line(open_trips: Open) -> None:
    read = open_trips().read(DAY, DAY)
    assert read.table.column("Order").to_pylist() == list(range(24, 48))
    assert read.table.column("cost").to_pylist() == [i / 4 for i in range(24, 48)]
    [part] = read.parts
    assert (part.name, part.rows) == (f"fleet.trips {DAY}", 24)
    assert 'SELECT fleet.trips.at, fleet.trips."Order", fleet.trips."we""ird"' in read.query
    assert "%(param_1)s" in read.query
    assert "extra" not in read.query  # a table's other columns are not ours


def test_the_same_rows_give_the_same_bytes_whatever_their_order(
    open_trips: Open, postgres: PostgresServer
) -> None:
    first = open_trips(event_time=None, batch_rows=7).read(None)
    postgres.run(
        "CREATE TABLE fleet.turned AS SELECT * FROM fleet.trips ORDER BY md5('x' || \"Order\")",
        # A language's order of letters would put ä between a and B.
        'ALTER TABLE fleet.turned ALTER "we""ird" TYPE text COLLATE "de-x-icu"',
    )
    again = open_trips(event_time=None, batch_rows=50, table="fleet.turned").read(None)
    assert again.table.equals(first.table)
    assert again.parts[0].sha256 == first.parts[0].sha256
    postgres.run('UPDATE fleet.turned SET cost = cost + 0.01 WHERE "Order" = 5')
    changed = open_trips(event_time=None, table="fleet.turned").read(None)
    assert changed.parts[0].sha256 != first.parts[0].sha256


def test_a_lookup_is_read_once(open_trips: Open, postgres: PostgresServer) -> None:
    source = open_trips(event_time=None)
    first = source.read(None)
    postgres.run("DELETE FROM fleet.trips")
    assert source.read(None) is first


def test_a_query_may_use_the_edges_and_end_in_a_comment(open_trips: Open) -> None:
    query = """
        SELECT at, "Order", "we""ird", sum(cost) AS cost FROM fleet.trips -- all; of it
        WHERE at >= :start AND at < :end AND 'a:b' <> '::' GROUP BY 1, 2, 3; -- the end"""
    read = open_trips(query).read(DAY, DAY)
    assert read.table.num_rows == 24
    assert "%(start)s" in read.query


def test_a_row_without_a_time_is_judged_not_overlooked(
    open_trips: Open, postgres: PostgresServer
) -> None:
    postgres.run('INSERT INTO fleet.trips (at, "Order", "we""ird") VALUES (NULL, 99, \'x\')')
    with pytest.raises(DataRejected, match="without a time a row belongs to no window"):
        open_trips().read(DAY, DAY)


def test_times_without_a_zone_need_a_declared_one(
    open_trips: Open, postgres: PostgresServer
) -> None:
    postgres.run(
        "ALTER TABLE fleet.trips ALTER at TYPE timestamp USING at AT TIME ZONE 'Pacific/Kiritimati'"
    )
    with pytest.raises(DataRejected, match="column 'at' is stored without a time zone") as caught:
        open_trips().read(DAY, DAY)
    assert "zone: Europe/Rome" in caught.value.remedy
    zoned = {**COLUMNS, "at": {"type": "timestamp", "zone": "Pacific/Kiritimati"}}
    read = open_trips(columns=zoned).read(DAY, DAY)
    assert read.table.column("Order").to_pylist() == list(range(24, 48))
    assert read.parts[0].rows < 72


def test_one_reading_is_one_moment(schema: str, postgres: PostgresServer) -> None:
    database = SqlDatabase(postgres.connection(), 20)
    count = sa.text("SELECT count(*) FROM fleet.trips")
    with database.reading("source 'trips'", "trips") as opened:
        assert opened.execute(count).scalar() == 72
        postgres.run("DELETE FROM fleet.trips")
        assert opened.execute(count).scalar() == 72
    with database.reading("source 'trips'", "trips") as opened:
        assert opened.execute(count).scalar() == 0


WRITES = """CREATE OR REPLACE FUNCTION fleet.sly() RETURNS SETOF fleet.trips LANGUAGE sql AS
            'DELETE FROM fleet.trips RETURNING *'"""
PASSWORD_OF_ANOTHER = "wr0ng-p@ss/word"
FAULTS: list[tuple[dict[str, Any], type[FerrymanError], str]] = [
    ({"table": "fleet.tripps"}, SpecError, "no table 'fleet.tripps' in the database of connection "
     "'fleet'; did you mean 'trips'?"),
    ({"columns": {**COLUMNS, "extras": {"type": "text"}}}, DataRejected,
     "column 'extras' is missing (renamed to 'extra'?)"),
    ({"columns": {**COLUMNS, "speed": {"type": "number"}}}, DataRejected,
     "(fleet.trips): column 'speed' is missing"),
    ({"query": "SELECT at, \"Order\", \"we\"\"ird\" AS wierd, cost FROM fleet.trips"},
     DataRejected, "column 'we\"ird' is missing (renamed to 'wierd'?)"),
    ({"query": "SELECT *, now() AS seen FROM fleet.trips"}, DataRejected,
     "column 'seen' is not declared"),
    ({"query": "SELECT att FROM fleet.trips"}, SpecError,
     'trips.sql: column "att" does not exist (Perhaps you meant to reference the column'),
    ({"query": "SELECT att FORM fleet.trips, x"}, SpecError, "trips.sql: syntax error at or near"),
    ({"query": "DELETE FROM fleet.trips"}, SpecError, "begins with 'DELETE', not with SELECT"),
    ({"query": "SELECT 1; DROP TABLE fleet.trips"}, SpecError, "holds more than one statement"),
    ({"query": "SELECT 1) AS x UNION (SELECT 2"}, SpecError, "closes a bracket"),
    ({"query": "SELECT :strat"}, SpecError, "no value :strat"),
    ({"query": "SELECT * FROM fleet.sly()", "columns": {**COLUMNS, "extra": {"type": "text"}}},
     PolicyRefused, "tries to write: cannot execute DELETE in a read-only transaction"),
    ({"query": "SELECT at, \"Order\" / 0 AS \"Order\", \"we\"\"ird\", cost FROM fleet.trips"},
     DataRejected, "division by zero"),
    ({"query": "SELECT 'infinity'::timestamptz AS at", "columns": {"at": {"type": "timestamp"}},
      "event_time": None}, DataRejected, "trips.sql: timestamp too large"),
    ({"query": "SELECT at, \"Order\", \"we\"\"ird\", pg_sleep(30)::text::numeric AS cost "
      "FROM fleet.trips", "timeout": "1s"}, DependencyUnavailable, "it took too long"),
    ({"columns": {**COLUMNS, "at": {"type": "text"}, "extra": {"type": "timestamp"}},
      "event_time": "extra"}, DataRejected, "'extra' is stored as something else than a time"),
    ({"table": "pg_catalog.pg_authid", "event_time": None, "login": "guest"},
     PolicyRefused, "permission denied for table pg_authid"),
    ({"password": PASSWORD_OF_ANOTHER}, DependencyUnavailable,
     "the database of connection 'fleet' refused the login"),
    ({"database": "fleeet"}, SpecError, 'database "fleeet" does not exist'),
]  # fmt: skip


@pytest.mark.parametrize(("change", "kind", "text"), FAULTS, ids=[fault[2] for fault in FAULTS])
def test_faults_have_a_kind_and_words_without_a_secret(
    open_trips: Open,
    postgres: PostgresServer,
    caplog: pytest.LogCaptureFixture,
    change: dict[str, Any],
    kind: type[FerrymanError],
    text: str,
) -> None:
    caplog.set_level(logging.DEBUG)
    given = dict(change)
    postgres.run(WRITES)
    access = {key: given.pop(key) for key in ("login", "password", "database") if key in given}
    if "login" in access:
        postgres.run(
            "DO $$BEGIN CREATE ROLE guest LOGIN PASSWORD 'guest-pass';"
            " EXCEPTION WHEN duplicate_object THEN NULL; END$$"
        )
        access["password"] = "guest-pass"
    if given.get("table") == "pg_catalog.pg_authid":
        given["columns"] = {"rolname": {"type": "text"}}
    source = open_trips(connection=postgres.connection(**access), **given)
    with pytest.raises(kind) as caught:
        source.read(None if source.spec.event_time is None else DAY, None)
    told = "".join(traceback.format_exception(caught.value)) + caplog.text + repr(source)
    assert text in caught.value.text
    assert len(caught.value.text) < 500
    for secret in (postgres.password, PASSWORD_OF_ANOTHER, "guest-pass"):
        assert secret not in told


def test_a_database_that_is_away(open_trips: Open, tmp_path: Path) -> None:
    nobody = Connection("fleet", "postgresql://127.0.0.1:1/fleet", "anna", "s3cr3t")
    with pytest.raises(DependencyUnavailable, match="connection 'fleet' is away: ") as caught:
        open_trips(connection=nobody).read(DAY, DAY)
    assert "s3cr3t" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("https://api.example", "is https://, no database"),
        ("nosuch://h/x", "Can't load plugin: sqlalchemy.dialects:nosuch"),
        ("postgresql+nosuch://h/x", "Can't load plugin"),
        ("mssql+pyodbc://h/x", "No module named 'pyodbc'"),
    ],
)
def test_a_connection_that_leads_to_no_database(open_trips: Open, url: str, text: str) -> None:
    with pytest.raises(SpecError, match=text):
        open_trips(connection=Connection("fleet", url, "anna", "s3cr3t")).read(DAY, DAY)


def test_a_server_that_hangs_ends_the_reading_in_time(
    open_trips: Open, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ferryman.data.sources.sql_database._GRACE_SECONDS", 0.5)
    database = SqlDatabase(postgres.connection(), 1)
    start = time.monotonic()
    with (
        pytest.raises(DependencyUnavailable, match="no answer within 1 s"),
        database.reading("source 'trips'", "trips") as opened,
        postgres.frozen(),
    ):
        opened.execute(sa.text("SELECT 1"))
    assert time.monotonic() - start < 8


MANY = """
import resource, sys
from pathlib import Path
import pyarrow.compute, numpy, psycopg, sqlalchemy
from ferryman.data.sources.sql_source import SqlSource
from ferryman.runtime.connection_url import parse_connection
from ferryman.runtime.connections import GivenConnections
from ferryman.spec.sources import SqlSourceSpec

spec = SqlSourceSpec.model_validate({
    "kind": "sql", "connection": "fleet", "table": "fleet.many", "batch_rows": 10_000,
    "columns": {"n": {"type": "integer"}, "line": {"type": "category"}, "x": {"type": "number"}},
})
connections = GivenConnections(parse_connection("fleet", sys.stdin.read()))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
rows = SqlSource("many", spec, connections, Path()).read(None)
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(rows.table.num_rows, after - before)
"""


def test_many_rows_are_never_python_objects_all_at_once(
    schema: str, postgres: PostgresServer
) -> None:
    postgres.run(
        """CREATE TABLE fleet.many AS SELECT i AS n, 'line ' || i % 7 AS line, i::float8 / 3 AS x
           FROM generate_series(1, 300000) AS i"""
    )
    connection = postgres.connection()
    login = f"{quote(str(connection.login))}:{quote(str(connection.password), safe='')}"
    url = connection.url.replace("//", f"//{login}@")
    done = subprocess.run(
        [sys.executable, "-c", MANY], input=url, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    rows, grown = map(int, done.stdout.split())
    assert rows == 300_000
    # Measured: 52 MB batch by batch (7 MB of columns, raw and typed; libraries), 130 MB at once.
    assert grown < 90_000


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


def test_windows_that_meet_share_no_row(open_trips: Open) -> None:
    source = open_trips()
    halves = [
        Window(start=DAY.start, end=DAY.start + dt.timedelta(hours=12)),
        Window(start=DAY.start + dt.timedelta(hours=12), end=DAY.end),
    ]
    read = [source.read(half, half).table.column("Order").to_pylist() for half in halves]
    assert [*read[0], *read[1]] == list(range(24, 48))
