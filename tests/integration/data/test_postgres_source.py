"""SQL sources against a real PostgreSQL: rows, order, limits and faults."""

import datetime as dt
import logging
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
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


def test_windows_that_meet_share_no_row(open_trips: Open) -> None:
    source = open_trips()
    halves = [
        Window(start=DAY.start, end=DAY.start + dt.timedelta(hours=12)),
        Window(start=DAY.start + dt.timedelta(hours=12), end=DAY.end),
    ]
    read = [source.read(half, half).table.column("Order").to_pylist() for half in halves]
    assert [*read[0], *read[1]] == list(range(24, 48))
