"""The shape of a CSV file: UTF-8, one header, equally many fields a row, a whole last line."""

import codecs
import csv
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NoReturn

from ferryman.data.header import check_names
from ferryman.errors import DataRejected

_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF32_LE, "UTF-32"),
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
    (codecs.BOM_UTF8, "UTF-8 with a byte order mark"),
)
_SAVE_AS = "Save the file as plain UTF-8, without a byte order mark, comma-separated."
_FETCH = "Fetch the file again, or repair the line; then run the window again."
_SEPARATORS = (";", "\t", "|")


class CsvBytes:
    """Looks at the bytes of a CSV file as they pass by; raises DataRejected with byte and line."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._decoder = codecs.getincrementaldecoder("utf-8")("strict")
        self._bytes = 0
        self._lines = 0
        self._last = b""

    def add(self, piece: bytes) -> None:
        """Check the next piece of the file."""
        if self._bytes == 0:
            for mark, name in _BYTE_ORDER_MARKS:
                if piece.startswith(mark):
                    self._reject(f"byte 1: the file is {name}", _SAVE_AS)
        nul = piece.find(b"\0")
        if nul >= 0:
            self._reject(f"{self._at(piece, nul)}: a NUL byte", _FETCH)
        pending = len(self._decoder.getstate()[0])
        try:
            self._decoder.decode(piece)
        except UnicodeDecodeError as error:
            place = max(error.start - pending, 0)
            self._reject(f"{self._at(piece, place)}: not UTF-8 text", _SAVE_AS)
        self._bytes += len(piece)
        self._lines += piece.count(b"\n")
        self._last = piece[-1:]

    def finish(self) -> None:
        """Check the end of the file."""
        if self._decoder.getstate()[0]:
            self._reject("the file ends inside a UTF-8 character: it was cut off", _FETCH)
        if self._last != b"\n":
            text = f"line {self._lines + 1}, the last, does not end with a newline: it was cut off"
            self._reject(text, _FETCH)

    def _at(self, piece: bytes, place: int) -> str:
        line = self._lines + piece.count(b"\n", 0, place) + 1
        return f"byte {self._bytes + place + 1}, line {line}"

    def _reject(self, text: str, remedy: str) -> NoReturn:
        raise DataRejected(f"{self._path}: {text}", remedy=remedy)


def check_csv_shape(path: Path, columns: Collection[str]) -> int:
    """Check header and field counts; returns the number of data rows.

    Raises DataRejected (exit 3) that names the line.
    """
    _check_separator(path, len(columns))
    rows = _rows(path)
    header_line, header = next(rows, (1, []))
    check_names(header, columns, f"{path}: line {header_line}")
    count = 0
    for line, fields in rows:
        count += 1
        if len(fields) != len(header):
            given = f"line {line} has {len(fields)} fields, header has {len(header)}"
            raise DataRejected(
                f"{path}: {given if fields else f'line {line} is empty'}", remedy=_FETCH
            )
    return count


def _check_separator(path: Path, columns: int) -> None:
    with path.open("rb") as stream:
        first = stream.readline(1 << 16).decode("utf-8", "replace")
    used = next((mark for mark in _SEPARATORS if mark in first), None)
    if columns > 1 and "," not in first and used is not None:
        raise DataRejected(
            f"{path}: line 1: fields are separated by {used!r}, not by a comma", remedy=_SAVE_AS
        )


def line_of_row(path: Path, row: int) -> int:
    """The line, counted from 1, on which a data row (counted from 0) begins."""
    for number, (line, _) in enumerate(_rows(path)):
        if number == row + 1:
            return line
    raise IndexError(f"{path} has no row {row}")


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Every row with the line it begins on; a quoted cell may hold line breaks."""
    with path.open(encoding="utf-8", newline="") as stream:
        reader = csv.reader(stream, strict=True)
        begin = 1
        while True:
            try:
                fields = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                raise DataRejected(
                    f"{path}: line {begin}: {_csv_fault(error)}", remedy=_FETCH
                ) from error
            yield begin, fields
            begin = reader.line_num + 1


def _csv_fault(error: csv.Error) -> str:
    if "unexpected end of data" in str(error):
        return "a quoted cell is never closed: the file was cut off"
    return str(error)[:200]
