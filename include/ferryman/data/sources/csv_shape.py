"""The shape of a CSV file: one header, equally many fields a row, quotes where they belong.

Every byte is looked at by numpy, some rows at a time; only what is wrong is read again, cell by
cell, to be explained.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from ferryman.data.sources.csv_faults import CsvFault, CsvRow, explain, scan_rows
from ferryman.data.sources.header import check_names
from ferryman.data.sources.text_bytes import FETCH, LINE_BYTES, SAVE_AS, no_newline
from ferryman.errors import DataRejected

_COMMA, _NEWLINE, _RETURN, _QUOTE = b',\n\r"'
_SEPARATORS = (b";", b"\t", b"|")


@dataclass(frozen=True)
class _Rows:
    """The whole rows at the start of a text: their end, whether they are fit, how many.

    `lines` counts line ends; `ends` are the line ends that end a row, as numbers from 0 among all;
    None where all do.
    """

    end: int
    fit: bool
    rows: int
    lines: int
    ends: Any = None


class CsvShape:
    """Checks a CSV file piece by piece; `columns` are those declared.

    Memory does not grow with the file. With `keep_lines`, the line that each row begins on is kept.
    """

    def __init__(self, shown: str, columns: Collection[str], *, keep_lines: bool = False) -> None:
        self._shown = shown
        self._columns = columns
        self._rest = b""
        self._line = 1
        self._starts: list[Any] | None = [] if keep_lines else None
        self.header: tuple[str, ...] = ()
        self.rows = 0
        self.multiline = False

    def add(self, piece: bytes) -> None:
        """Check the next piece of the file; DataRejected (exit 3) names the line."""
        text = self._rest + piece if self._rest else piece
        if not self.header:
            text = text[self._take_header(text) :]
        if self.header:
            text = text[self._take_rows(text) :]
        if len(text) > LINE_BYTES:
            self._refuse_fault(text)
            self._reject(f"line {self._line}: {_endless(text)}", FETCH)
        self._rest = text

    def finish(self, *, vouched: bool) -> None:
        """Check the end; a last line without a newline is taken where a manifest vouches for it."""
        rest, self._rest = self._rest, b""
        if not rest:
            return
        self._refuse_fault(rest)
        if not _closed(rest):
            text = "a quoted cell is never closed: the file was cut off"
            self._reject(f"line {self._line}: {text}", FETCH)
        if not vouched:
            raise no_newline(self._shown, self._line + rest.count(b"\n"))
        self.add(rest + b"\n")

    def row_lines(self) -> Any:
        """The line, counted from 1, on which each data row begins; as an int64 array."""
        return np.concatenate(self._starts) if self._starts else np.zeros(0, np.int64)

    def _take_header(self, text: bytes) -> int:
        """Check the first row; returns its end, 0 where it is not whole yet."""
        self._check_separator(text.partition(b"\n")[0])
        row = self._first_row(text)
        if row is None:
            return 0
        names = row.texts()
        check_names(names, self._columns, f"{self._shown}: line 1")
        self.header = tuple(names)
        self._line = text.count(b"\n", 0, row.end) + 1
        return row.end

    def _check_separator(self, first_line: bytes) -> None:
        used = next((mark for mark in _SEPARATORS if mark in first_line), None)
        if len(self._columns) > 1 and b"," not in first_line and used is not None:
            text = f"line 1: fields are separated by {used.decode()!r}, not by a comma"
            self._reject(text, SAVE_AS)

    def _first_row(self, text: bytes) -> CsvRow | None:
        try:
            return next(scan_rows(text, 1), None)
        except CsvFault as fault:
            self._reject(str(fault), FETCH)

    def _take_rows(self, text: bytes) -> int:
        """Check the whole rows of a text; returns their end."""
        look = _quoted_rows if b'"' in text else _plain_rows
        found = look(text, len(self.header))
        if not found.fit:
            self._refuse_fault(text)
            self._reject(f"from line {self._line} on: not well-formed CSV", FETCH)
        if self._starts is not None and found.rows:
            ends = np.arange(found.rows) if found.ends is None else found.ends
            self._starts.append(self._line + np.concatenate([[0], ends[:-1] + 1]))
        self.rows += found.rows
        self._line += found.lines
        self.multiline = self.multiline or found.lines != found.rows
        return found.end

    def _refuse_fault(self, text: bytes) -> None:
        fault = explain(text, self._line, len(self.header))
        if fault is not None:
            self._reject(fault, FETCH)

    def _reject(self, text: str, remedy: str) -> NoReturn:
        raise DataRejected(f"{self._shown}: {text}", remedy=remedy)


def _plain_rows(text: bytes, fields: int) -> _Rows:
    """Rows of a text without quotes: every newline ends one, every comma a field."""
    end = text.rfind(b"\n") + 1
    data = np.frombuffer(text, np.uint8, end)
    newlines = data == _NEWLINE
    rows = int(np.count_nonzero(newlines))
    fit = _regular(data[newlines | (data == _COMMA)], rows, fields)
    if fit and b"\r" in text:
        returns = np.flatnonzero(data == _RETURN)
        fit = bool((data[returns + 1] == _NEWLINE).all())
    if fit and fields == 1 and rows:
        fit = not _any_blank(data, np.flatnonzero(newlines))
    return _Rows(end, fit, rows, rows)


def _quoted_rows(text: bytes, fields: int) -> _Rows:
    """Rows of a text with quotes: an odd number of them before a mark puts it into a cell."""
    data = np.frombuffer(text, np.uint8)
    places = np.flatnonzero((data == _COMMA) | (data == _NEWLINE) | (data == _QUOTE))
    marks = data[places]
    quotes = marks == _QUOTE
    # Counted modulo 256, which keeps odd odd.
    inside = np.cumsum(quotes, dtype=np.uint8) & 1
    outside = (inside == 0) & ~quotes
    ending = np.flatnonzero(outside & (marks == _NEWLINE))
    if not len(ending):
        return _Rows(0, True, 0, 0)
    last = int(ending[-1]) + 1
    end, rows = int(places[last - 1]) + 1, len(ending)
    at = places[:last][quotes[:last]]
    newlines = marks[:last] == _NEWLINE
    fit = (
        _regular(marks[:last][outside[:last]], rows, fields)
        and _well_placed(data, at)
        and not _lone_return(data[:end], at)
        and not (fields == 1 and _any_blank(data, places[ending]))
    )
    lines = int(np.count_nonzero(newlines))
    ends = None if lines == rows else np.cumsum(newlines)[ending] - 1
    return _Rows(end, fit, rows, lines, ends)


def _regular(marks: Any, rows: int, fields: int) -> bool:
    """Whether of the commas and newlines each `fields`-th, and no other, is a newline."""
    if len(marks) != rows * fields:
        return False
    return bool((marks[fields - 1 :: fields] == _NEWLINE).all())


def _well_placed(data: Any, quotes: Any) -> bool:
    """Whether each quote opens at a field's start, closes at its end, or is doubled."""
    opening, closing = quotes[::2], quotes[1::2]
    before = data[opening - 1]
    opens = (before == _COMMA) | (before == _NEWLINE) | (before == _QUOTE) | (opening == 0)
    after = data[closing + 1]
    closes = (after == _COMMA) | (after == _NEWLINE) | (after == _RETURN) | (after == _QUOTE)
    return bool(opens.all() and closes.all())


def _lone_return(data: Any, quotes: Any) -> bool:
    """Whether a carriage return stands outside of quotes and before no newline."""
    returns = np.flatnonzero(data == _RETURN)
    if not len(returns):
        return False
    free = returns[np.searchsorted(quotes, returns) % 2 == 0]
    return bool((data[free + 1] != _NEWLINE).any())


def _any_blank(data: Any, newlines: Any) -> bool:
    """Whether a row, each ended by one of the newlines, has nothing written on it."""
    starts = np.concatenate([[0], newlines[:-1] + 1])
    length = newlines - starts
    blank = (length == 0) | ((length == 1) & (data[starts] == _RETURN))
    return bool(blank.any())


def _closed(text: bytes) -> bool:
    """Whether every quoted cell of a text is closed."""
    return text.count(b'"') % 2 == 0


def _endless(text: bytes) -> str:
    if _closed(text):
        return "longer than 1 MiB"
    return "a quoted cell is not closed within 1 MiB"
