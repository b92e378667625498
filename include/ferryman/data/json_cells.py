"""Cells of JSON: typed where all of a column are of the declared kind, else kept as written.

A column with any other cell becomes an array of the type arrow.json, whose cells are JSON tokens:
`"7"` is a text and `7` a number, so that nothing is mistaken and everything can be shown.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from ferryman.spec.sources import ColumnType

_INTEGERS = range(-(2**63), 2**63)
# Python's types of the cells that can be put into an array without looking at each one.
_PLAIN: Mapping[ColumnType, tuple[frozenset[type], Any]] = {
    "integer": (frozenset({int, type(None)}), pa.int64()),
    "number": (frozenset({float, type(None)}), pa.float64()),
    "category": (frozenset({str, type(None)}), pa.string()),
    "text": (frozenset({str, type(None)}), pa.string()),
    "boolean": (frozenset({bool, type(None)}), pa.bool_()),
}


def column_of(cells: Sequence[Any], kind: ColumnType) -> Any:
    """A raw pyarrow array of the cells; None where one is a list or an object."""
    kinds = set(map(type, cells))
    if kinds & {list, dict}:
        return None
    legal, target = _PLAIN.get(kind, (frozenset(), None))
    if kinds <= legal:
        array = _array(cells, target)
        if array is not None and not (pa.types.is_string(array.type) and _holds_nul(array)):
            return array
    tokens = [None if cell is None else json.dumps(cell) for cell in cells]
    return pa.array(tokens, pa.string()).cast(pa.json_())


def from_json(tokens: Any, kind: ColumnType) -> Any:
    """An array of the declared kind from an arrow.json array; null where a cell is of another.

    Times stay text, to be judged as text.
    """
    target = pa.string() if kind == "timestamp" else _PLAIN[kind][1]
    cells = tokens.cast(pa.string()).to_pylist()
    return pa.array(
        [None if cell is None else _fitting(json.loads(cell), kind) for cell in cells], target
    )


def _array(cells: Sequence[Any], target: Any) -> Any:
    try:
        return pa.array(cells, target)
    except (pa.ArrowInvalid, OverflowError, UnicodeEncodeError):
        return None  # a number of more than 64 bits, or half of a surrogate pair


def _holds_nul(array: Any) -> bool:
    return any(b"\0" in buffer.to_pybytes() for buffer in array.buffers()[2:] if buffer is not None)


def _fitting(cell: Any, kind: ColumnType) -> Any:
    """The cell as its kind, or None; a bool is no number, though Python thinks so."""
    number = isinstance(cell, int | float) and not isinstance(cell, bool)
    if kind == "integer":
        whole = number and (isinstance(cell, int) or cell.is_integer())
        return int(cell) if whole and int(cell) in _INTEGERS else None
    if kind == "number":
        return _float(cell) if number else None
    if kind == "boolean":
        return cell if isinstance(cell, bool) else None
    return cell if isinstance(cell, str) and _storable(cell) else None


def _float(cell: float) -> float | None:
    try:
        value = float(cell)
    except OverflowError:
        return None
    return value if abs(value) != float("inf") else None


def _storable(text: str) -> bool:
    """Whether a text can be written down as UTF-8, without a NUL."""
    return "\0" not in text and not any(0xD800 <= ord(letter) <= 0xDFFF for letter in text)
