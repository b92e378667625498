"""Reads expectations.yaml: a list of expectations, every mistake with file and line.

- expect: ExpectColumnValuesToBeBetween
  column: temp
  min_value: -40
  max_value: 130
  mostly: 0.99
"""

import ast
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

from ferryman.data.rows.column_types import shorten
from ferryman.errors import SpecError
from ferryman.spec.mistakes import nearest

# Crashes Great Expectations 1.24: its result does not turn into JSON.
BANNED = {
    "ExpectColumnQuantileValuesToBeBetween": "use ExpectColumnMedianToBeBetween or a range instead"
}
# These need a database behind the batch, or another table.
_FOREIGN = {
    "ExpectQueryResultsToMatchComparison",
    "ExpectTableRowCountToEqualOtherTable",
    "UnexpectedRowsExpectation",
}
_MAX_BYTES = 1_000_000


@dataclass(frozen=True)
class DeclaredExpectation:
    """One expectation: its class name in Great Expectations, its arguments, its line."""

    name: str
    arguments: dict[str, Any]
    line: int


def read_expectations(file: Path, columns: list[str]) -> list[DeclaredExpectation]:
    """The expectations of a file; `columns` are those that a window's features have.

    Raises SpecError (exit 2) with file:line and the nearest legal name.
    """
    node = _parse(file)
    if not isinstance(node, yaml.SequenceNode):
        raise SpecError(f"{file}:1: the file holds no list of expectations")
    return [_read_item(file, item, columns) for item in node.value]


def legal_names() -> list[str]:
    """The names of Great Expectations' own expectations, without importing it."""
    found = find_spec("great_expectations")
    if found is None or not found.submodule_search_locations:
        raise SpecError("great_expectations is not installed")
    core = Path(found.submodule_search_locations[0]) / "expectations" / "core" / "__init__.py"
    imports = [
        node for node in ast.walk(ast.parse(core.read_text())) if isinstance(node, ast.ImportFrom)
    ]
    names = {alias.name for node in imports for alias in node.names if "Expect" in alias.name}
    return sorted(names - set(BANNED) - _FOREIGN)


def _read_item(file: Path, node: yaml.Node, columns: list[str]) -> DeclaredExpectation:
    line = node.start_mark.line + 1
    if not isinstance(node, yaml.MappingNode):
        raise SpecError(f"{file}:{line}: an expectation is a mapping that begins with `expect:`")
    lines: dict[str, int] = {}
    for key, _ in node.value:
        name = str(key.value)
        if name in lines:
            raise SpecError(f"{file}:{key.start_mark.line + 1}: key {name[:80]!r} stands twice")
        lines[name] = key.start_mark.line + 1
    loader = yaml.SafeLoader("")
    try:
        values = loader.construct_document(node)
    except (yaml.YAMLError, ValueError) as error:
        raise SpecError(f"{file}:{line}: a value cannot be read: {error}") from error
    finally:
        loader.dispose()
    name = values.pop("expect", None)
    if not isinstance(name, str):
        raise SpecError(f"{file}:{line}: key 'expect' is missing, or is not a name")
    _check_name(file, lines["expect"], name)
    for key in ("column", "column_A", "column_B"):
        _check_column(file, lines.get(key, line), values.get(key), columns)
    return DeclaredExpectation(name, {str(key): value for key, value in values.items()}, line)


def _check_name(file: Path, line: int, name: str) -> None:
    if name in BANNED:
        raise SpecError(f"{file}:{line}: {name} is not used here; {BANNED[name]}")
    legal = legal_names()
    if name not in legal:
        meant = nearest(name[:100], legal)
        hint = f"; did you mean {meant!r}?" if meant else ""
        raise SpecError(
            f"{file}:{line}: no expectation {shorten(name)}{hint}",
            remedy="The names are those of Great Expectations, such as ExpectColumnToExist.",
        )


def _check_column(file: Path, line: int, name: object, columns: list[str]) -> None:
    if name is None or name in columns:
        return
    meant = nearest(str(name)[:100], columns)
    hint = f"; did you mean {meant!r}?" if meant else ""
    raise SpecError(f"{file}:{line}: the features have no column {shorten(str(name))}{hint}")


def _parse(file: Path) -> yaml.Node | None:
    try:
        data = file.read_bytes()
        if len(data) > _MAX_BYTES:
            raise SpecError(f"{file}:1: {len(data)} bytes; at most {_MAX_BYTES}")
        text = data.decode("utf-8")
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, yaml.SafeLoader)):
            raise SpecError(f"{file}:1: anchors and aliases are not used here")
        return yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise SpecError(f"{file}:{line}: not YAML: {error.problem}") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SpecError(f"{file}:1: not readable: {error}") from error
