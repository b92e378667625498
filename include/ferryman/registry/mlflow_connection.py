"""One way to MLflow: bounded retries, a race-free first start, and errors in our own tree."""

import fcntl
import logging
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import requests
import sqlalchemy
import sqlalchemy.exc
from mlflow import MlflowClient, environment_variables
from mlflow.exceptions import MlflowException

from ferryman.errors import DependencyUnavailable, IntegrityBroken, SpecError
from ferryman.runtime.files import space_errors

logger = logging.getLogger(__name__)

# Together below 30 s: three tries of 6 s at most, with pauses of about 1 and 2 s between them.
_RETRIES = 2
_SECONDS_PER_TRY = 6
_BACKOFF = 1
_SQLITE = "sqlite:///"
ABSENT = frozenset({"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"})
_UNAVAILABLE = frozenset({"INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED"})
_connected: dict[tuple[int, str], MlflowClient] = {}


def connect(uri: str) -> MlflowClient:
    """A client of a tracking server or database, which is made ready if it is new.

    Raises DependencyUnavailable (exit 6) within 30 s where it cannot be reached. One client a
    process and address: a fork gets its own.
    """
    key = (os.getpid(), uri)
    if key not in _connected:
        _configure()
        with mlflow_errors(uri):
            prepare(uri)
            _check_database(uri)
            client = MlflowClient(tracking_uri=uri, registry_uri=uri)
            client.search_experiments(max_results=1)
        _connected[key] = client
    return _connected[key]


def prepare(uri: str) -> None:
    """Create a SQLite tracking database, once and whole, whoever comes first.

    MLflow's first initialisation is a chain of migrations: two at once break each other, and a
    killed one leaves a database that no later one repairs. So it is made aside, under a lock, and
    then moved into place. Does nothing for servers: they own their database. Whoever starts a
    server on the same file calls this first.
    """
    file = _sqlite_file(uri)
    if file is None or file.exists():
        return
    with space_errors(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.with_name(f".{file.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not file.exists():
                logger.info("creating MLflow's database %s", file)
                _create_database(file)


def _create_database(file: Path) -> None:
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    aside = file.with_name(f".{file.name}.new")
    for leftover in file.parent.glob(f"{aside.name}*"):
        leftover.unlink()
    store = SqlAlchemyStore(f"{_SQLITE}{aside}", (file.parent / "artifacts").as_uri())
    store.engine.dispose()
    with closing(sqlite3.connect(aside, timeout=20)) as database:
        # Readers (the UI) and a writer do not wait for each other; the file remembers it.
        database.execute("PRAGMA journal_mode=WAL")
    aside.rename(file)


def _check_database(uri: str) -> None:
    """Try a database once: MLflow itself tries for 100 s before it says that it cannot."""
    file = _sqlite_file(uri)
    if file is not None:
        try:
            with closing(sqlite3.connect(file, timeout=20)) as database:
                database.execute("PRAGMA schema_version").fetchone()
        except sqlite3.OperationalError as error:
            raise _unavailable(uri, error) from error
        except sqlite3.DatabaseError as error:
            raise IntegrityBroken(f"{file}: {error}") from error
    elif not uri.startswith(("http://", "https://", "file:")):
        engine = sqlalchemy.create_engine(uri, connect_args={"connect_timeout": 10})
        try:
            engine.connect().close()
        finally:
            engine.dispose()


@contextmanager
def mlflow_errors(uri: str) -> Iterator[None]:
    """Turn "cannot reach" and "cannot answer now" into DependencyUnavailable (exit 6)."""
    try:
        yield
    except MlflowException as error:
        if error.error_code not in _UNAVAILABLE:
            raise
        raise _unavailable(uri, error) from error
    except (requests.RequestException, sqlalchemy.exc.OperationalError) as error:
        raise _unavailable(uri, error) from error


def artifact_location(uri: str, artifacts: Path, name: str) -> str | None:
    """Where an experiment's files go: a folder for a local database, else the server's choice."""
    return (artifacts / name).as_uri() if _sqlite_file(uri) is not None else None


def quoted(text: str) -> str:
    """Text inside single quotes of MLflow's filter language, which has no escapes."""
    if "'" in text:
        raise SpecError(f"{text[:100]!r}: a quote cannot be part of a name in MLflow")
    return text


def _unavailable(uri: str, error: Exception) -> DependencyUnavailable:
    reason = str(error).strip().split("\n")[0][:300]
    return DependencyUnavailable(
        f"MLflow is not available at {_without_secret(uri)}: {reason}",
        remedy="Start it (`make run` does), or set FERRYMAN_MLFLOW_URI; then run again.",
    )


def _without_secret(uri: str) -> str:
    scheme, separator, rest = uri.partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"


def _sqlite_file(uri: str) -> Path | None:
    return Path(uri.removeprefix(_SQLITE)) if uri.startswith(_SQLITE) else None


def _configure() -> None:
    """MLflow's own defaults wait for many minutes; what the user has set stays."""
    for variable, value in (
        (environment_variables.MLFLOW_HTTP_REQUEST_MAX_RETRIES, _RETRIES),
        (environment_variables.MLFLOW_HTTP_REQUEST_TIMEOUT, _SECONDS_PER_TRY),
        (environment_variables.MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR, _BACKOFF),
    ):
        if not variable.is_set():
            variable.set(value)
    if not environment_variables.MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR.is_set():
        environment_variables.MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR.set(False)
