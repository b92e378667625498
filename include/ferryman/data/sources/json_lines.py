"""JSON lines: one flat object a line, its keys the declared columns, each once.

A line that is no such object refuses the file. A cell of another kind than declared is kept as it
is and left to the rules of the types: nothing is converted on the way.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NoReturn

from ferryman.data.rows.cells import Misfits, table_of_cells
from ferryman.data.sources.header import check_names
from ferryman.data.sources.strict_json import NotJson, read_json
from ferryman.data.sources.text_bytes import FETCH, LINE_BYTES, no_newline
from ferryman.errors import DataRejected
from ferryman.spec.sources import ColumnSpec

_BATCH = 16_384


class JsonLinesShape:
    """Counts the lines of a file piece by piece; each is one row."""

    def __init__(self, shown: str) -> None:
        self._shown = shown
        self._begun = 0  # bytes of a line that is not whole yet
        self.rows = 0

    def add(self, piece: bytes) -> None:
        """Check the next piece, of 1 MiB at most; DataRejected (exit 3) for a longer line."""
        first = piece.find(b"\n")
        if self._begun + (len(piece) if first < 0 else first) > LINE_BYTES:
            raise DataRejected(
                f"{self._shown}: line {self.rows + 1}: longer than 1 MiB", remedy=FETCH
            )
        self._begun = self._begun + len(piece) if first < 0 else len(piece) - piece.rfind(b"\n") - 1
        self.rows += piece.count(b"\n")

    def finish(self, *, vouched: bool) -> None:
        """Check the end; a last line without a newline is taken where a manifest vouches for it."""
        if not self._begun:
            return
        if not vouched:
            raise no_newline(self._shown, self.rows + 1)
        self.rows += 1


class JsonLinesReader:
    """Makes raw tables of the lines of one file."""

    def __init__(self, shown: str, columns: Mapping[str, ColumnSpec]) -> None:
        self._shown = shown
        self._columns = columns
        self._line = 0

    def tables(self, pieces: Iterator[bytes]) -> Iterator[tuple[Any, Misfits]]:
        """pyarrow Tables of some thousand rows each, in the order of the file, with misfits."""
        batch: list[dict[str, Any]] = []
        for line in _lines(pieces):
            self._line += 1
            batch.append(self._row(line))
            if len(batch) == _BATCH:
                yield self._table(batch)
                batch = []
        if batch:
            yield self._table(batch)

    def _row(self, line: bytes) -> dict[str, Any]:
        if b"\\u0000" in line:
            self._reject("holds a NUL character")
        try:
            row = read_json(line.decode())
        except NotJson as error:
            self._reject("is empty" if not line.strip() else f"is not JSON: {error}")
        if not isinstance(row, dict):
            self._reject("is not a JSON object: it does not begin with '{'")
        if row.keys() != self._columns.keys():
            check_names(list(row), self._columns, f"{self._shown}: line {self._line}")
        return row

    def _table(self, batch: Sequence[dict[str, Any]]) -> tuple[Any, Misfits]:
        cells = {name: [row[name] for row in batch] for name in self._columns}
        nested = []
        for name, column in cells.items():
            if not {list, dict}.isdisjoint(map(type, column)):
                row = next(n for n, cell in enumerate(column) if isinstance(cell, list | dict))
                nested.append((row, name))
        if nested:
            row, name = min(nested)
            self._line += row + 1 - len(batch)
            self._reject(f"has a list or an object in column {name!r}; a cell is one value")
        return table_of_cells(cells, self._columns)

    def _reject(self, text: str) -> NoReturn:
        raise DataRejected(f"{self._shown}: line {self._line} {text}", remedy=FETCH)


def _lines(pieces: Iterator[bytes]) -> Iterator[bytes]:
    rest = b""
    for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        yield from whole
    if rest:
        yield rest
