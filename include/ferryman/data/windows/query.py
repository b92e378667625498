"""Runs a query of a model's folder in DuckDB, on given tables and nothing else.

The query is one SELECT. It reaches no file, no network and no setting; it runs on one thread, so
that sums of floating-point numbers are the same whenever the same rows are read (windows run side
by side instead).
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from ferryman.errors import DataRejected, DependencyUnavailable, FerrymanError, SpecError

_LINE = re.compile(r"^LINE (\d+): (.*)\n( *)(\^+)", re.MULTILINE)
_LEADING = re.compile(r"(?:\s*\n|[ \t]*--[^\n]*\n|[ \t]*/\*.*?\*/[ \t]*\n)*", re.DOTALL)
_DATA_FAULTS = (duckdb.ConversionException, duckdb.OutOfRangeException)
_QUERY_FAULTS = (
    duckdb.BinderException,
    duckdb.CatalogException,
    duckdb.InvalidInputException,
    duckdb.ParserException,
    duckdb.PermissionException,
    duckdb.SyntaxException,
)
_TIME_WORDS = {"current_date", "current_time", "current_timestamp", "localtime", "localtimestamp"}
_REMEDY = "Correct the query."


_CONFIG = {
    "threads": 1,
    "enable_external_access": "false",
    "python_enable_replacements": "false",
}


@dataclass(frozen=True)
class _Query:
    """A file's query without the comments above it, and the lines that these were.

    DuckDB 2.0 counts lines wrongly where a comment comes first.
    """

    file: Path
    text: str
    skipped: int

    def at(self, line: int) -> str:
        """FILE:LINE of a line of the text."""
        return f"{self.file}:{self.skipped + line}"


class QueryEngine:
    """One DuckDB in memory, for all queries of an ingestion; opening one costs 50 ms.

    Each query runs on a connection of its own, from any thread, and sees its own views only.
    """

    def __init__(self) -> None:
        self._database = duckdb.connect(":memory:", config=_CONFIG)
        self._database.execute("SET GLOBAL TimeZone = 'UTC'")
        self._fickle = _fickle_functions(self._database)
        self._database.execute("SET lock_configuration = true")
        self._checked: set[_Query] = set()

    def __enter__(self) -> "QueryEngine":
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    def run(self, file: Path, views: Mapping[str, Any], later: Mapping[str, str]) -> Any:
        """The result of a file's query as a pyarrow Table.

        `views` are pyarrow Tables by name; `later` names the columns that are withheld because they
        are known only after the event, each with its source. Raises SpecError (exit 2) with
        file:line where the query is wrong, DataRejected (exit 3) where a value cannot be converted.
        """
        query = _read(file)
        with self._database.cursor() as connection:
            for name, table in views.items():
                connection.register(name, table)
            try:
                if query not in self._checked:
                    _check_statement(connection, query, self._fickle)
                    self._checked.add(query)
                return connection.sql(query.text).to_arrow_table()
            except duckdb.OutOfMemoryException as error:
                raise DependencyUnavailable(f"{file}: {_first_line(error)}") from error
            except (*_DATA_FAULTS, *_QUERY_FAULTS) as error:
                raise _explained(_located(connection, query.text, error), query, later) from error


def _read(file: Path) -> _Query:
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"{file}: not readable as UTF-8 text: {error}") from error
    begin = _LEADING.match(text)
    end = begin.end() if begin else 0
    return _Query(file, text[end:], text.count("\n", 0, end))


def _check_statement(connection: Any, query: _Query, fickle: frozenset[str]) -> None:
    """One SELECT, made only of functions that give the same answer for the same rows."""
    file, text = query.file, query.text
    statements = connection.extract_statements(text)
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        raise SpecError(f"{file}: the file must hold exactly one SELECT", remedy=_REMEDY)
    tree = connection.execute("SELECT json_serialize_sql(?::VARCHAR)", [text]).fetchall()[0][0]
    for what, location in _fickle_parts(json.loads(tree), fickle):
        line = text.encode()[:location].count(b"\n") + 1
        raise SpecError(
            f"{query.at(line)}: {what} gives another answer at another time, so the same rows "
            "would not make the same snapshot",
            remedy="Compute from columns of the sources only.",
        )


def _fickle_parts(root: Any, fickle: frozenset[str]) -> Iterator[tuple[str, int]]:
    """Every part of a parsed query whose value does not follow from the rows, and where it is."""
    stack = [root]
    while stack:
        node = stack.pop()
        if isinstance(node, list):
            stack.extend(node)
        if not isinstance(node, dict):
            continue
        stack.extend(node.values())
        location = int(node.get("query_location") or 0)
        function = str(node.get("function_name", "")).lower()
        names = [str(name).lower() for name in node.get("column_names", [])]
        if function in fickle:
            yield f"{function}()", location
        elif len(names) == 1 and names[0] in _TIME_WORDS:
            yield names[0], location
        elif node.get("sample") is not None:
            yield "a sample", location


def _fickle_functions(connection: Any) -> frozenset[str]:
    """Functions such as random() and now(), as DuckDB itself classifies them."""
    rows = connection.execute(
        "SELECT DISTINCT function_name FROM duckdb_functions() WHERE stability <> 'CONSISTENT'"
    ).fetchall()
    return frozenset(str(name).lower() for (name,) in rows)


def _explained(error: duckdb.Error, query: _Query, later: Mapping[str, str]) -> FerrymanError:
    first = _first_line(error)
    place = _LINE.search(str(error))
    shown = query.at(int(place[1])) if place else str(query.file)
    if isinstance(error, _DATA_FAULTS):
        return DataRejected(
            f"{shown}: {first}", remedy="Repair the value, or make the query expect it."
        )
    if isinstance(error, duckdb.BinderException):
        meant = _withheld(first, place, later)
        if meant is not None:
            column = _column_of_word(query.text, int(place[1]), meant) if place else None
            where = f"{shown}:{column}" if column else shown
            return SpecError(
                f"{where}: column {meant!r} of source {later[meant]!r} is known only after the "
                "event, so it cannot be a feature of it",
                remedy="Use what is known before the event, or outcomes of earlier events in "
                f"{later[meant]}_history.",
            )
    return SpecError(f"{shown}: {first}", remedy=_REMEDY)


def _located(connection: Any, text: str, error: duckdb.Error) -> duckdb.Error:
    """The same error with its line, which DuckDB tells for `execute` but not for `sql`."""
    try:
        connection.execute(text).close()
    except duckdb.Error as located:
        if type(located) is type(error):
            return located
    return error


def _first_line(error: duckdb.Error) -> str:
    return str(error).split("\n", maxsplit=1)[0][:300]


def _withheld(first: str, place: re.Match[str] | None, later: Mapping[str, str]) -> str | None:
    """The withheld column that a binder error is about, if it is about one."""
    marked = ""
    if place is not None:
        begin = len(place[3]) - len(f"LINE {place[1]}: ")
        marked = place[2][max(begin, 0) : begin + len(place[4])]
    words = {word.lower() for word in re.findall(r'"([^"]+)"', first)}
    words |= {word.lower() for word in re.findall(r"\w+", marked)}
    return next((name for name in later if name.lower() in words), None)


def _column_of_word(text: str, line: int, word: str) -> int | None:
    match = re.search(rf"\b{re.escape(word)}\b", text.splitlines()[line - 1], re.IGNORECASE)
    return match.start() + 1 if match else None
