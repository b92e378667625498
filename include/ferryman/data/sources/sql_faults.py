"""What a database's refusals mean: whose mistake it is, in words without a secret."""

from typing import Any

from ferryman.errors import (
    DataRejected,
    DependencyUnavailable,
    FerrymanError,
    PolicyRefused,
    SpecError,
)
from ferryman.runtime.connections import Connection

# Five characters of the SQL standard's SQLSTATE (whole, or the class of the first two), or the name
# that SQLite gives to its code.
_LOGIN = ("28",)
_SLOW = ("57014", "55P03", "SQLITE_INTERRUPT")
_WRITES = ("25006", "SQLITE_READONLY")
_FORBIDDEN = ("42501", "SQLITE_AUTH", "SQLITE_PERM")
_WRONG_SQL = ("42", "0A", "SQLITE_ERROR", "SQLITE_RANGE")
_BAD_DATA = ("22", "SQLITE_NOTADB", "SQLITE_CORRUPT", "SQLITE_TOOBIG")
_LOGIN_WORDS = ("authentication failed", "no password supplied", "access denied", "no pg_hba.conf")
_MISSING_WORDS = ("does not exist", "unknown database")


def explain(error: Exception, connection: Connection, shown: str, written_in: str) -> FerrymanError:
    """The error of ours that an error of SQLAlchemy or of a driver stands for."""
    driver = getattr(error, "orig", None) or error
    code = getattr(driver, "sqlstate", None) or getattr(driver, "sqlite_errorname", None) or ""
    said = connection.hide_secrets(_words(driver))
    if code.startswith(_WRONG_SQL) and not code.startswith(_FORBIDDEN):
        return SpecError(f"{shown}: {written_in}: {said}", remedy="Correct the query.")
    if code.startswith(_BAD_DATA) or _is_unreadable(error, driver):
        return DataRejected(f"{shown}: {written_in}: {said}")
    refused = _refused(code, said, connection.name, f"{shown}: {written_in}")
    return refused or _unavailable(error, code, said, connection.name, shown)


def _refused(code: str, said: str, name: str, shown: str) -> FerrymanError | None:
    """The login, more time, a write or a table, that the database does not grant."""
    if code.startswith(_LOGIN) or any(words in said.lower() for words in _LOGIN_WORDS):
        return DependencyUnavailable(
            f"{shown}: the database of connection {name!r} refused the login",
            remedy=f"Correct user and password of connection {name!r}.",
        )
    if code.startswith(_SLOW):
        return DependencyUnavailable(
            f"{shown}: the database stopped the query: it took too long",
            remedy="Look at the database's load and locks, or declare a longer `timeout`.",
        )
    if code.startswith(_WRITES):
        return PolicyRefused(f"{shown} tries to write: {said}", remedy="A source is only read.")
    if code.startswith(_FORBIDDEN):
        return PolicyRefused(f"{shown}: {said}", remedy=f"Let connection {name!r} read it.")
    return None


def _unavailable(error: Exception, code: str, said: str, name: str, shown: str) -> FerrymanError:
    """Away, in part or as a whole; what SQLAlchemy itself refuses is a mistake in the query."""
    if getattr(error, "orig", None) is None and not code:
        return SpecError(f"{shown}: {said}", remedy="Correct the query.")
    if any(words in said.lower() for words in _MISSING_WORDS):
        return SpecError(f"{shown}: connection {name!r}: {said}", remedy="Correct its URL.")
    return DependencyUnavailable(
        f"{shown}: the database of connection {name!r} is away: {said}",
        remedy="Start it, or correct the connection; then run again.",
    )


def _words(driver: Any) -> str:
    """The driver's first sentence, and its hint, if it has one."""
    told = getattr(driver, "diag", None)
    sentence = getattr(told, "message_primary", None)
    if not sentence:
        return str(driver)
    hint = getattr(told, "message_hint", None)
    return f"{sentence} ({hint})" if hint else str(sentence)


def _is_unreadable(error: Exception, driver: Any) -> bool:
    """Values that the driver cannot turn into Python's: a time without end, bytes as text."""
    return type(error).__name__ == "DataError" or "decode to UTF-8" in str(driver)
