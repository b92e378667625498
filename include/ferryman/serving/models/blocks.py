"""The cells of a request as the arrays that a model takes: columns of one kind make one block.

All cells of a block are checked at once; only where that finds a fault are they looked at one by
one, to name the first bad one.
"""

import math
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ferryman.runtime.bundle import Block, FeatureColumn

MAX_TEXT = 1_000
# From here on a JSON reader, a float and the log would no longer mean the same whole number.
_LARGEST_WHOLE = 2**53
_LARGEST_FLOAT = sys.float_info.max
# The least number that is too large for a block of these.
_LIMITS = {
    "float32": math.nextafter(float(np.finfo(np.float32).max), math.inf),
    "float64": math.inf,
    "int64": math.inf,
}
_NUMBERS = frozenset({int, float, type(None)})
_TEXTS = frozenset({str, type(None)})
_DTYPES: dict[str, type[Any]] = {
    "float32": np.float32,
    "float64": np.float64,
    "int64": np.int64,
}


class RowError(Exception):
    """A row that cannot be scored: what is wrong, and where (row number from 0, column)."""

    def __init__(self, text: str, *, row: int | None = None, field: str | None = None) -> None:
        super().__init__(text)
        self.text = text
        self.row = row
        self.field = field


class NoScore(RowError):
    """Rows are as the model's schema wants them, and the model has no answer to them."""


class NumberBlock:
    """Columns of numbers, side by side; null becomes NaN."""

    def __init__(self, kind: Block, columns: Sequence[FeatureColumn]) -> None:
        self.kind = kind
        self.names = [column.name for column in columns]
        self.width = len(columns)
        self._dtype = _DTYPES[kind]
        self._required = [not column.nullable or kind == "int64" for column in columns]
        self._whole = [column.type == "integer" or kind == "int64" for column in columns]
        self._wholes = np.flatnonzero(self._whole) if any(self._whole) else None
        self._needed = np.array(self._required) if any(self._required) else None
        self._limits = [_LARGEST_WHOLE if whole else _LIMITS[kind] for whole in self._whole]
        # A sum of squares below this holds no cell that is not finite or is too large. A sum that
        # is above may be of many good cells, and is looked at closely.
        self._bound = min(min(self._limits) / 2, 1e150) ** 2

    def array(self, cells: list[Any], rows: int) -> Any:
        """Cells, row by row, as an array [rows, columns]; RowError names the first bad one."""
        return self.tensor(self.check(cells, rows), rows)

    def tensor(self, checked: Any, rows: int) -> Any:  # noqa: ARG002  - one port with TextBlock
        """What `check` gave, as what the model takes."""
        return checked if self._dtype is np.float64 else checked.astype(self._dtype)

    def check(self, cells: list[Any], rows: int) -> Any:
        """Cells as float64 [rows, columns], null as NaN; RowError names the first bad one."""
        kinds = set(map(type, cells))
        if not kinds <= _NUMBERS:
            _check_each(cells, self.names, self._fault)
        try:
            flat = np.array(cells, dtype=np.float64)  # null becomes NaN
        except OverflowError:  # a whole number beyond every float
            _check_each(cells, self.names, self._fault)
            raise
        block = flat.reshape(rows, self.width)
        known = flat if type(None) not in kinds else self._without_nulls(block, cells)
        # One product in place of isfinite() and abs(): NaN and infinity are not below the bound.
        # vdot, because dot() warns where the sum overflows.
        if not np.vdot(known, known) < self._bound:
            _check_each(cells, self.names, self._fault)
        if float in kinds and self._wholes is not None:
            self._check_whole(known.reshape(rows, self.width), cells)
        return block

    def _without_nulls(self, block: Any, cells: list[Any]) -> Any:
        nulls = np.isnan(block)
        lacking = self._needed is not None and np.count_nonzero(nulls & self._needed)
        if lacking or np.count_nonzero(nulls) != cells.count(None):
            _check_each(cells, self.names, self._fault)
        return np.where(nulls, 0.0, block).ravel()

    def _check_whole(self, block: Any, cells: list[Any]) -> None:
        wholes = block if len(self._wholes) == self.width else block[:, self._wholes]  # type: ignore[arg-type]
        if np.count_nonzero(np.rint(wholes) != wholes):
            _check_each(cells, self.names, self._fault)

    def _fault(self, value: Any, column: int) -> str | None:
        if value is None:
            return "must not be null" if self._required[column] else None
        if type(value) not in _NUMBERS:
            return "must be a number or null"
        if not -_LARGEST_FLOAT <= value <= _LARGEST_FLOAT:
            return "is too large" if type(value) is int else "must be finite"
        if self._whole[column] and int(value) != value:
            return "must be a whole number"
        return "is too large" if abs(value) >= self._limits[column] else None


class TextBlock:
    """Columns of texts, side by side; null becomes the empty text."""

    def __init__(self, columns: Sequence[FeatureColumn]) -> None:
        self.kind: Block = "text"
        self.names = [column.name for column in columns]
        self.width = len(columns)
        self._required = [not column.nullable for column in columns]
        self._some_required = any(self._required)

    def array(self, cells: list[Any], rows: int) -> Any:
        """Cells, row by row, as an array [rows, columns]; RowError names the first bad one."""
        return self.tensor(self.check(cells, rows), rows)

    def tensor(self, checked: list[Any], rows: int) -> Any:
        """What `check` gave, as what the model takes: null as the empty text."""
        texts = ["" if cell is None else cell for cell in checked] if None in checked else checked
        return np.array(texts, dtype=np.object_).reshape(rows, self.width)

    def check(self, cells: list[Any], rows: int) -> list[Any]:  # noqa: ARG002  - as NumberBlock
        """Cells as they are; RowError names the first bad one."""
        if not set(map(type, cells)) <= _TEXTS:
            _check_each(cells, self.names, self._fault)
        if self._some_required and not all(cells):
            _check_each(cells, self.names, self._fault)
        if max(map(len, filter(None, cells)), default=0) > MAX_TEXT:
            _check_each(cells, self.names, self._fault)
        return cells

    def _fault(self, value: Any, column: int) -> str | None:
        if type(value) not in _TEXTS:
            return "must be text or null"
        if value is not None and len(value) > MAX_TEXT:
            return f"longer than {MAX_TEXT} characters"
        return "must not be null or empty" if self._required[column] and not value else None


CellBlock = NumberBlock | TextBlock


def cell_block(kind: Block, columns: Sequence[FeatureColumn]) -> CellBlock:
    """The block of columns of one kind."""
    return TextBlock(columns) if kind == "text" else NumberBlock(kind, columns)


def _check_each(
    cells: Sequence[Any], names: Sequence[str], fault_of: Callable[[Any, int], str | None]
) -> None:
    for place, value in enumerate(cells):
        row, column = divmod(place, len(names))
        fault = fault_of(value, column)
        if fault is not None:
            raise RowError(fault, row=row, field=names[column])
