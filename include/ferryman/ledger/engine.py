"""Opens the ledger's database and turns its faults into Ferryman's errors."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, func, insert, inspect, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, NoSuchModuleError, OperationalError
from sqlalchemy.pool import NullPool

from ferryman.errors import DependencyUnavailable, IntegrityBroken, SpecError
from ferryman.ledger import tables

BUSY_SECONDS = 30
GENESIS = "0" * 64
_WRITE = "ferryman_write"
_RESTORE = "Restore the ledger from a backup, then run `ferryman reconcile`."
_CREATION = 0x6665727279  # the number of Postgres' advisory lock: "ferry"


def open_engine(url: str) -> Engine:
    """An engine for a ledger URL (SQLite or Postgres), with its tables made.

    No connection is kept between transactions: an Airflow task forks from a process that may have
    opened a ledger, and a connection must never cross a fork.
    """
    try:
        parsed = make_url(url)
        engine = create_engine(parsed, poolclass=NullPool)
    except (ArgumentError, NoSuchModuleError, ModuleNotFoundError) as error:
        raise SpecError(
            f"ledger URL cannot be used: {error}", remedy="Give sqlite:///PATH or postgresql://..."
        ) from error
    if engine.dialect.name == "sqlite":
        _prepare_folder(parsed.database)
        event.listen(engine, "connect", _on_sqlite_connect)
        event.listen(engine, "begin", _on_sqlite_begin)
    with transaction(engine) as connection:
        ready = _is_ready(connection)
    if not ready:
        with transaction(engine, write=True) as connection:
            # Six processes may start at once: the first one creates, the others find it made.
            _lock_creation(connection)
            if not _is_ready(connection):
                tables.metadata.create_all(connection)
                if connection.execute(select(tables.tip.c.id)).first() is None:
                    connection.execute(insert(tables.tip).values(id=1, seq=0, hash=GENESIS))
    return engine


@contextmanager
def transaction(engine: Engine, *, write: bool = False) -> Iterator[Connection]:
    """One transaction; a writing one excludes every other writer from its first statement on.

    Raises DependencyUnavailable (exit 6) when the database cannot be read or written now, and
    IntegrityBroken (exit 7) when its file is damaged.
    """
    try:
        with engine.connect() as connection:
            connection.execution_options(**{_WRITE: write})
            with connection.begin():
                yield connection
    except OperationalError as error:
        if "Could not decode" in str(error.orig):  # the driver's word for bytes that are no text
            raise IntegrityBroken(
                f"ledger {_shown(engine)} is damaged: {error.orig}", remedy=_RESTORE
            ) from error
        raise DependencyUnavailable(
            f"ledger {_shown(engine)} is not available: {error.orig}",
            remedy="Free the disk or make the ledger writable, then run again.",
        ) from error
    except DatabaseError as error:
        if "malformed" in str(error.orig) or "not a database" in str(error.orig):
            raise IntegrityBroken(
                f"ledger {_shown(engine)} is damaged: {error.orig}",
                remedy=_RESTORE,
            ) from error
        raise


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """A writing transaction that holds the ledger's lock from its first statement on."""
    with transaction(engine, write=True) as connection:
        lock_tip(connection)
        yield connection


def lock_tip(connection: Connection) -> tuple[int, str]:
    """The newest row's number and hash; on Postgres this line also takes the write lock."""
    row = connection.execute(select(tables.tip).with_for_update()).one()
    return row.seq, row.hash


def _lock_creation(connection: Connection) -> None:
    """Wait for whoever creates the tables. A writing transaction of SQLite has waited already."""
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(_CREATION)))


def _is_ready(connection: Connection) -> bool:
    # A ledger of an earlier release lacks a table or two: they are added at its next opening.
    found = inspect(connection)
    return bool(
        found.has_table("costs")
        and found.has_table("lease")
        and found.has_table("tip")
        and connection.execute(select(tables.tip.c.id)).first() is not None
    )


def _prepare_folder(database: str | None) -> None:
    if not database or database == ":memory:":
        raise SpecError(
            "the ledger needs a database file", remedy="Give sqlite:///PATH with a file's path."
        )
    if database.startswith("file:"):
        return  # a URI, whose options say whether anything may be made
    try:
        Path(database).parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DependencyUnavailable(
            f"ledger folder {Path(database).parent} cannot be made: {error.strerror}"
        ) from error


def _on_sqlite_connect(connection: sqlite3.Connection, record: object) -> None:
    del record
    connection.isolation_level = None  # `_on_sqlite_begin` opens transactions, not the driver
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout={BUSY_SECONDS * 1000}")
    if cursor.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.close()


def _on_sqlite_begin(connection: Connection) -> None:
    # A deferred transaction that turns into a writer fails at once when another one has written;
    # an immediate one waits its turn.
    write: Any = connection.get_execution_options().get(_WRITE)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


def _shown(engine: Engine) -> str:
    return engine.url.render_as_string(hide_password=True)
