"""Makes the quarantine table: every dropped or changed row, why, from where, and as it came."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from ferryman.data.rows.cell_rules import Finding
from ferryman.data.rows.cells import Misfits
from ferryman.data.rows.cleaning import QUARANTINE
from ferryman.data.rows.column_types import CellForm, one_chunk, shorten, show_cell

_BLOCK = 50_000  # rows that are Python objects at one time


def number_rows(positions: Sequence[int]) -> list[str]:
    """`row 1` for the first one: the places of rows in what has no lines."""
    return [f"row {position + 1}" for position in positions]


@dataclass(frozen=True)
class Origin:
    """Where raw rows came from.

    `part` is the name of the SourcePart, `shown` names it in messages; `places` turns ascending
    positions of rows, counted from 0, into `line 17` or `row 16`.
    """

    part: str
    shown: str
    form: CellForm
    places: Callable[[Sequence[int]], list[str]] = number_rows


@dataclass(frozen=True)
class Piece:
    """Raw rows of one origin; `start` is the first one's place among all rows of the reading.

    `positions` are those of the rows in their origin; misfits are by these positions too.
    """

    raw: Any
    origin: Origin
    positions: Any
    start: int
    misfits: Misfits = field(default_factory=dict)

    def place(self, row: int) -> str:
        """Where one row stands, by its place among all rows."""
        return self.origin.places([int(self.positions[row - self.start])])[0]

    def example(self, column: str, row: int) -> str:
        """One cell as it is shown in a message."""
        local = row - self.start
        misfit = self.misfits.get(column, {}).get(int(self.positions[local]))
        if misfit is not None:
            return shorten(misfit)[1:-1]  # JSON: a text in it has quotes of its own
        cell = self.raw.column(column)[local]
        empty = self.origin.form == "text" and cell.as_py() == ""
        return "null" if empty else show_cell(cell)

    def texts(self, columns: Sequence[str], rows: Any) -> dict[str, Any]:
        """The cells of some rows, as text arrays by column; misfits included."""
        local = rows - self.start
        positions = self.positions[local].tolist()
        found = {}
        for name in columns:
            array = one_chunk(self.raw.column(name)).take(pa.array(local)).cast(pa.string())
            misfits = self.misfits.get(name)
            if misfits:
                cells = zip(array.to_pylist(), positions, strict=True)
                array = pa.array([misfits.get(at, cell) for cell, at in cells], pa.string())
            found[name] = array
        return found


def quarantine_table(
    source: str, pieces: Sequence[Piece], findings: Sequence[Finding], dropped: Any, counted: Any
) -> Any:
    """One line for each counted row and finding, in the order of rows; see QUARANTINE.

    `dropped` and `counted` are masks over all rows.
    """
    kept = [(finding, finding.rows[counted[finding.rows]]) for finding in findings]
    kept = [(finding, rows) for finding, rows in kept if len(rows)]
    if not kept:
        return QUARANTINE.empty_table()
    every = np.unique(np.concatenate([rows for _, rows in kept]))
    tables = []
    for piece in pieces:
        end = piece.start + piece.raw.num_rows
        rows = every[(every >= piece.start) & (every < end)]
        for first in range(0, len(rows), _BLOCK):
            tables.append(_lines(source, piece, rows[first : first + _BLOCK], kept, dropped))
    return pa.concat_tables(tables)


def _lines(
    source: str,
    piece: Piece,
    rows: Any,
    kept: Sequence[tuple[Finding, Any]],
    dropped: Any,
) -> Any:
    """The lines of some rows of one piece."""
    texts = piece.texts(piece.raw.column_names, rows)
    whole = pa.array(_as_json(texts, len(rows)), pa.string())
    places = pa.array(piece.origin.places(piece.positions[rows - piece.start].tolist()))
    at, reasons = [], []
    for number, (_, touched) in enumerate(kept):
        inside = touched[(touched >= rows[0]) & (touched <= rows[-1])]
        at.append(np.searchsorted(rows, inside))
        reasons.append(np.full(len(inside), number))
    order = np.lexsort((np.concatenate(reasons), np.concatenate(at)))
    values = [
        pa.nulls(len(local), pa.string())
        if finding.column is None
        else texts[finding.column].take(pa.array(local))
        for (finding, _), local in zip(kept, at, strict=True)
    ]
    local, reason = (pa.array(np.concatenate(part)[order]) for part in (at, reasons))
    action = np.where(dropped[rows], "dropped", "changed")
    columns = [
        pa.array([source] * len(order), pa.string()),
        pa.array([piece.origin.part] * len(order), pa.string()),
        places.take(local),
        pa.array(action).take(local),
        pa.array([finding.column for finding, _ in kept], pa.string()).take(reason),
        pa.array([finding.reason for finding, _ in kept], pa.string()).take(reason),
        pa.concat_arrays(values).take(pa.array(order)),
        whole.take(local),
    ]
    return pa.table(columns, schema=QUARANTINE)


def _as_json(texts: Mapping[str, Any], rows: int) -> list[str]:
    names = list(texts)
    cells = [array.to_pylist() for array in texts.values()]
    lines = zip(*cells, strict=True) if names else [()] * rows
    encode = json.JSONEncoder(ensure_ascii=False).encode
    return [encode(dict(zip(names, line, strict=True))) for line in lines]
