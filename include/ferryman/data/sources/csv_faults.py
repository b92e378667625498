"""Reads CSV rows one cell at a time: slow, and therefore only to say what is wrong and where."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

# A quote may only open at a field's start and close at its end; a doubled one stands for itself.
_FIELD = re.compile(rb'"(?:[^"]++|"")*+"|[^",\r\n]*+')


class CsvFault(Exception):
    """What is wrong, beginning with the line."""


@dataclass(frozen=True)
class CsvRow:
    """A row's cells as they are written, quotes and all; the line it begins on; where it ends."""

    line: int
    fields: tuple[bytes, ...]
    end: int

    @property
    def blank(self) -> bool:
        """Whether nothing at all is written on the line."""
        return self.fields == (b"",)

    def texts(self) -> list[str]:
        """The cells as they are meant."""
        return [_meant(field).decode() for field in self.fields]


def scan_rows(text: bytes, line: int) -> Iterator[CsvRow]:
    """Every whole row of a text that begins on a line; raises CsvFault.

    What follows the last whole row is not judged: more bytes may come.
    """
    fields: list[bytes] = []
    place, begin = 0, line
    while (found := _FIELD.match(text, place)) is not None:
        field = found.group()
        after = text[found.end() : found.end() + 2]
        if after in (b"", b"\r") or (after[:1] == b'"' and not field):
            return  # the rest may still come: an end of the line, or of a quoted cell
        opened, line = line, line + field.count(b"\n")
        fields.append(field)
        place = found.end() + 1
        if after[:1] == b",":
            continue
        if after == b"\r\n":
            place += 1
        elif after[:1] != b"\n":
            raise CsvFault(f"line {line}: {_misplaced(after[:1], field, opened)}")
        yield CsvRow(begin, tuple(fields), place)
        line += 1
        fields, begin = [], line


def explain(text: bytes, line: int, fields: int) -> str | None:
    """The first fault of a text that begins on a line; None where there is none.

    `fields` is how many every row has to have.
    """
    try:
        for row in scan_rows(text, line):
            if row.blank:
                return f"line {row.line} is empty"
            if len(row.fields) != fields:
                count = len(row.fields)
                given = f"{count} field" if count == 1 else f"{count} fields"
                return f"line {row.line} has {given}, header has {fields}"
    except CsvFault as fault:
        return str(fault)
    return None


def _misplaced(byte: bytes, field: bytes, opened: int) -> str:
    if byte == b"\r":
        return "a carriage return without a newline"
    if field.startswith(b'"'):
        since = f" that began on line {opened}" if b"\n" in field else ""
        return f"text after the closing quote of a cell{since}; a quote inside is written twice"
    return "a quote inside a cell that does not begin with one"


def _meant(field: bytes) -> bytes:
    return field[1:-1].replace(b'""', b'"') if field.startswith(b'"') else field
