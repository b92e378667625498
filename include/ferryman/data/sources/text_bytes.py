"""The bytes of a text file: UTF-8 without a mark, without NUL bytes, with a whole last line."""

import codecs
from typing import NoReturn

import numpy as np

from ferryman.errors import DataRejected

SAVE_AS = "Save the file as plain UTF-8, without a byte order mark, comma-separated."
FETCH = "Fetch the file again, or repair the line; then run the window again."
LINE_BYTES = 1 << 20  # the longest line, and the longest row of CSV
_NEWLINE = 10
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF32_LE, "UTF-32"),
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
    (codecs.BOM_UTF8, "UTF-8 with a byte order mark"),
)


class TextBytes:
    """Looks at the bytes of a text file as they pass by; raises DataRejected with byte and line.

    Bytes and lines count from 1, in the file as it is after unpacking.
    """

    def __init__(self, shown: str) -> None:
        self._shown = shown
        self._decoder = codecs.getincrementaldecoder("utf-8")("strict")
        self._bytes = 0
        self._lines = 0

    def add(self, piece: bytes) -> None:
        """Check the next piece of the file."""
        if self._bytes == 0:
            for mark, name in _BYTE_ORDER_MARKS:
                if piece.startswith(mark):
                    self._reject(f"byte 1: the file is {name}", SAVE_AS)
        nul = piece.find(b"\0")
        if nul >= 0:
            self._reject(f"{self._at(piece, nul)}: a NUL byte", FETCH)
        pending = len(self._decoder.getstate()[0])
        if pending or not piece.isascii():
            try:
                self._decoder.decode(piece)
            except UnicodeDecodeError as error:
                place = max(error.start - pending, 0)
                self._reject(f"{self._at(piece, place)}: not UTF-8 text", SAVE_AS)
        self._bytes += len(piece)
        self._lines += int(np.count_nonzero(np.frombuffer(piece, np.uint8) == _NEWLINE))

    def finish(self) -> None:
        """Check the end of the file."""
        if self._decoder.getstate()[0]:
            self._reject("the file ends inside a UTF-8 character: it was cut off", FETCH)

    def _at(self, piece: bytes, place: int) -> str:
        line = self._lines + piece.count(b"\n", 0, place) + 1
        return f"byte {self._bytes + place + 1}, line {line}"

    def _reject(self, text: str, remedy: str) -> NoReturn:
        raise DataRejected(f"{self._shown}: {text}", remedy=remedy)


def no_newline(shown: str, line: int) -> DataRejected:
    """The error of a last line without an end: nobody can tell whether it is whole."""
    return DataRejected(
        f"{shown}: line {line}, the last, does not end with a newline: it was cut off",
        remedy="Fetch the file again. If it is whole, end its last line, or deliver a manifest "
        "(bytes, sha256 or rows) beside it that vouches for it.",
    )
