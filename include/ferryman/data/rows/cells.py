"""Cells that come as Python values, as a raw table: what has no place in a column is a misfit.

A column of a table has one type; the records of an API and the rows of a loosely typed database do
not. A value of another kind than the column's is set aside with its text and its place, so that it
can be judged, counted and kept like any other bad cell.
"""

import datetime as dt
import json
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import pyarrow as pa

from ferryman.spec.sources import ColumnSpec, ColumnType

Misfits = Mapping[str, Mapping[int, str]]
_LARGEST = 2**63 - 1
_MISFIT = object()
# Of these, every value has a place in the column, so that none need be looked at one by one.
_PLAIN: Mapping[ColumnType, frozenset[type]] = {
    "number": frozenset({float, type(None)}),
    "boolean": frozenset({bool, type(None)}),
}


def table_of_cells(
    cells: Mapping[str, Sequence[object]], columns: Mapping[str, ColumnSpec]
) -> tuple[Any, Misfits]:
    """The declared columns as a raw pyarrow Table, and the misfits: text by row, by column.

    Misfits are null in the table. Times are text in ISO 8601 (the form "json" of type_table).
    """
    arrays, misfits = {}, {}
    for name, column in columns.items():
        arrays[name], misfits[name] = _array(cells[name], column.type)
    return pa.table(arrays), {name: found for name, found in misfits.items() if found}


def text_of_cell(cell: object) -> str:
    """A misfit as JSON, so that the text "7" and the number 7 can be told apart."""
    return json.dumps(cell, default=str, ensure_ascii=_text(cell) is _MISFIT)


def _array(cells: Sequence[object], kind: ColumnType) -> tuple[Any, dict[int, str]]:
    fit, arrow = _FITTING[kind]
    if set(map(type, cells)) <= _PLAIN.get(kind, frozenset()):
        return pa.array(cells, arrow), {}
    fitted = [None if cell is None else fit(cell) for cell in cells]
    misfits = {
        row: text_of_cell(cells[row]) for row, value in enumerate(fitted) if value is _MISFIT
    }
    for row in misfits:
        fitted[row] = None
    return pa.array(fitted, arrow), misfits


def _integer(cell: object) -> object:
    if isinstance(cell, bool) or not isinstance(cell, int | float | Decimal):
        return _MISFIT
    whole = isinstance(cell, int) or cell == cell // 1
    return int(cell) if whole and -_LARGEST - 1 <= cell <= _LARGEST else _MISFIT


def _number(cell: object) -> object:
    if isinstance(cell, bool) or not isinstance(cell, int | float | Decimal):
        return _MISFIT
    try:
        return float(cell)
    except OverflowError:  # an integer beyond every float
        return _MISFIT


def _text(cell: object) -> object:
    if not isinstance(cell, str):
        return _MISFIT
    alone = not cell.isascii() and any("\ud800" <= letter <= "\udfff" for letter in cell)
    return _MISFIT if alone else cell  # half a surrogate pair is no text


def _boolean(cell: object) -> object:
    return cell if isinstance(cell, bool) else _MISFIT


def _time(cell: object) -> object:
    if isinstance(cell, dt.datetime):
        return cell.isoformat()
    return _text(cell)


_FITTING: Mapping[ColumnType, tuple[Callable[[object], object], Any]] = {
    "integer": (_integer, pa.int64()),
    "number": (_number, pa.float64()),
    "category": (_text, pa.string()),
    "text": (_text, pa.string()),
    "boolean": (_boolean, pa.bool_()),
    "timestamp": (_time, pa.string()),
}
