"""Rows of a database as raw Arrow columns, and the cells that have no place in theirs."""

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from ferryman.data.rows.cells import Misfits, table_of_cells
from ferryman.spec.sources import ColumnSpec

_NONE = type(None)


def table_of_rows(
    rows: Sequence[Sequence[object]], columns: Mapping[str, ColumnSpec], *, loose: bool
) -> tuple[Any, Misfits]:
    """A raw pyarrow Table of the declared columns with its misfits, for RowIntake.

    `loose` is for databases without a boolean type: there 0 and 1 stand for false and true.
    """
    turned = list(zip(*rows, strict=True)) if rows else [()] * len(columns)
    cells: dict[str, Sequence[object]] = dict(zip(columns, turned, strict=True))
    times = {}
    for name, column in columns.items():
        if column.type == "timestamp":
            times[name] = _times(cells[name])
        elif column.type == "boolean" and loose:
            cells[name] = [_boolean(cell) for cell in cells[name]]
    others = {name: column for name, column in columns.items() if times.get(name) is None}
    table, misfits = table_of_cells(cells, others)
    arrays = {name: table.column(name) if name in others else times[name] for name in columns}
    return pa.table(arrays), misfits


def _times(cells: Sequence[object]) -> Any:
    """An array of times, all with a zone or all without; None for anything else."""
    kinds = set(map(type, cells)) - {_NONE}
    if kinds != {dt.datetime}:
        return None
    zoned = {isinstance(cell, dt.datetime) and cell.tzinfo is not None for cell in cells if cell}
    if len(zoned) > 1:
        return None
    return pa.array(cells, pa.timestamp("us", "UTC" if zoned == {True} else None))


def _boolean(cell: object) -> object:
    return bool(cell) if type(cell) is int and cell in (0, 1) else cell
