"""One read-only moment of a database: opened late, bounded in time, closed at the end."""

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ferryman.data.sources.line_limit import LineLimit
from ferryman.data.sources.sql_faults import explain
from ferryman.errors import DependencyUnavailable, SpecError
from ferryman.runtime.connections import Connection

_CONNECT_SECONDS = 10
_GRACE_SECONDS = 5.0  # for the database's own limit to be told before the line is cut
_STEPS = 20_000  # of SQLite's machine between two looks at the clock
_NO_DATABASES = ("s3", "http", "https", "file")


class SqlDatabase:
    """Where a connection leads, for readings of at most `seconds` each.

    Nothing is kept between two readings, so that it may be used from threads and after a fork.
    """

    def __init__(self, connection: Connection, seconds: float) -> None:
        self._connection = connection
        self._seconds = seconds

    @contextmanager
    def reading(self, shown: str, written_in: str) -> Iterator[Any]:
        """A SQLAlchemy connection in one read-only transaction; rolled back at the end.

        What SQLAlchemy and its driver raise becomes an error of ours: see sql_faults. `shown` names
        the source, `written_in` the file or table at fault where the SQL is wrong.
        """
        import sqlalchemy

        engine = self._engine(shown)
        limit = LineLimit(self._seconds + _GRACE_SECONDS)
        try:
            with limit, engine.connect() as opened:
                number = getattr(opened.connection.dbapi_connection, "fileno", None)
                if number is not None:
                    limit.hold(number())
                self._restrict(opened)
                yield opened
                opened.rollback()
        except (sqlalchemy.exc.SQLAlchemyError, sqlite3.Error) as error:
            known = explain(error, self._connection, shown, written_in)
            if limit.passed:
                known = self._too_slow(shown)
            # The driver's own error may hold the address and more: it is not kept as the cause.
            raise known from None
        finally:
            engine.dispose()

    def _too_slow(self, shown: str) -> DependencyUnavailable:
        return DependencyUnavailable(
            f"{shown}: no answer within {self._seconds:g} s",
            remedy="Look at the database's load and locks, or declare a longer `timeout`.",
        )

    def _engine(self, shown: str) -> Any:
        import sqlalchemy

        name, scheme = self._connection.name, self._connection.scheme
        if scheme in _NO_DATABASES:
            raise SpecError(
                f"{shown}: connection {name!r} is {scheme}://, no database",
                remedy="Name a connection such as postgresql://host/database.",
            )
        try:
            url = sqlalchemy.make_url(self._connection.url)
            if url.drivername in ("postgres", "postgresql"):
                url = url.set(drivername="postgresql+psycopg")
            if scheme == "sqlite":
                return sqlalchemy.create_engine(
                    "sqlite://",
                    creator=_open_file(Path(url.database or ""), self._seconds, shown),
                    poolclass=sqlalchemy.NullPool,
                )
            return sqlalchemy.create_engine(
                # The password joins the address here, in an object that does not show it.
                url.set(username=self._connection.login, password=self._connection.password),
                connect_args=_arguments(url.get_driver_name()),
                poolclass=sqlalchemy.NullPool,
                hide_parameters=True,
            )
        except (sqlalchemy.exc.ArgumentError, ImportError) as error:
            why = self._connection.hide_secrets(error)
            raise SpecError(
                f"{shown}: connection {name!r}: {why}",
                remedy="Correct its URL, or install the driver that it names.",
            ) from None

    def _restrict(self, opened: Any) -> None:
        """Nothing may be written, all is of one moment, and no statement lasts for ever."""
        kind = opened.dialect.name
        if kind == "postgresql":
            opened.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            milliseconds = str(max(int(self._seconds * 1000), 1))
            for setting, value in (("statement_timeout", milliseconds), ("TimeZone", "UTC")):
                opened.exec_driver_sql("SELECT set_config(%s, %s, true)", (setting, value))
        elif kind == "sqlite":
            opened.exec_driver_sql("PRAGMA query_only = ON")
            deadline = time.monotonic() + self._seconds
            driver = opened.connection.dbapi_connection
            driver.set_progress_handler(lambda: int(time.monotonic() > deadline), _STEPS)
            driver.execute("BEGIN")
        elif "REPEATABLE READ" in opened.dialect.get_isolation_level_values(
            opened.connection.dbapi_connection
        ):
            opened.execution_options(isolation_level="REPEATABLE READ")


def _arguments(driver: str) -> dict[str, Any]:
    if driver in ("psycopg", "psycopg2"):
        return {"connect_timeout": _CONNECT_SECONDS, "application_name": "ferryman"}
    return {}


def _open_file(path: Path, patience: float, shown: str) -> Callable[[], sqlite3.Connection]:
    """What opens a SQLite file for reading only; it never makes one."""
    if not path.is_absolute():
        raise SpecError(
            f"{shown}: its SQLite file must be given by its whole path",
            remedy="Write sqlite:////folder/file.db, or sqlite:///{source_root}/file.db.",
        )
    if not path.is_file():
        raise DependencyUnavailable(
            f"{shown}: no file {path}", remedy="Put the database there, or correct the connection."
        )
    address = f"file:{quote(str(path))}?mode=ro"
    return lambda: sqlite3.connect(
        address,
        uri=True,
        timeout=min(patience, _CONNECT_SECONDS),  # for another's lock
        check_same_thread=False,
        isolation_level=None,
    )
