"""Unpacks delivered files as they stream by: never more bytes than the declaration allows."""

import gzip
import io
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

from ferryman.data.sources.delivery import CHUNK, DigestedStream
from ferryman.errors import DataRejected

_AGAIN = "Fetch the file again, then run the window again."
_TOO_LARGE = "If it is meant to be that large, raise {} of the source; else look at who made it."


@dataclass(frozen=True)
class Caps:
    """The largest size in bytes after unpacking, and the largest ratio to the packed bytes."""

    max_bytes: int
    max_ratio: float


def check_size(size: int, max_bytes: int, shown: str) -> None:
    """Raise DataRejected (exit 3) for a file that is empty, or too large as it lies there."""
    if size == 0:
        raise DataRejected(f"{shown}: the file is empty (0 bytes)", remedy=_AGAIN)
    if size > max_bytes:
        raise DataRejected(
            f"{shown}: {size} bytes are more than max_bytes, {max_bytes}",
            remedy=_TOO_LARGE.format("max_bytes"),
        )


def pieces(
    stream: DigestedStream, shown: str, *, packed: bool, size: int, caps: Caps
) -> Iterator[bytes]:
    """The file's bytes in pieces of at most 1 MiB, unpacked where it is gzip.

    `size` is that of the file as it lies there. Raises DataRejected (exit 3) as soon as a cap is
    passed, and for gzip that is cut, damaged or followed by something else.
    """
    if packed:
        yield from _unpacked(stream, shown, size, caps)
        return
    while piece := stream.read(CHUNK):
        yield piece


def _unpacked(stream: DigestedStream, shown: str, size: int, caps: Caps) -> Iterator[bytes]:
    """Members that follow one another are one text, as gzip defines it."""
    total = 0
    with gzip.GzipFile(fileobj=cast(Any, stream), mode="rb") as packed:
        while piece := _next_piece(packed, stream, shown):
            total += len(piece)
            if total > caps.max_bytes:
                raise DataRejected(
                    f"{shown}: unpacks to more than max_bytes, {caps.max_bytes}",
                    remedy=_TOO_LARGE.format("max_bytes"),
                )
            if total > caps.max_ratio * size:
                raise DataRejected(
                    f"{shown}: unpacks to more than {caps.max_ratio:g} times its {size} bytes",
                    remedy=_TOO_LARGE.format("max_ratio"),
                )
            yield piece
    if total == 0:
        raise DataRejected(f"{shown}: the file is empty (0 bytes after unpacking)", remedy=_AGAIN)


def _next_piece(packed: gzip.GzipFile, stream: DigestedStream, shown: str) -> bytes:
    try:
        return packed.read(CHUNK)
    except EOFError:
        raise DataRejected(
            f"{shown}: truncated: the gzip data ends before its end mark", remedy=_AGAIN
        ) from None
    except (gzip.BadGzipFile, zlib.error) as error:
        where = f"within the first {stream.size} bytes"
        if "Not a gzipped file" in str(error):
            began = packed.tell() > 0
            text = f"{where}: no gzip data follows the gzip data" if began else "not gzip data"
        else:
            text = f"{where}: damaged gzip data: {str(error)[:120]}"
        raise DataRejected(f"{shown}: {text}", remedy=_AGAIN) from error


class PiecesStream(io.RawIOBase):
    """Pieces of bytes as a file that can be read once, from start to end."""

    def __init__(self, source: Iterator[bytes]) -> None:
        super().__init__()
        self._source = source
        self._rest = b""

    def readable(self) -> bool:
        """It is for reading."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer as far as the next piece goes; 0 at the end."""
        if not self._rest:
            self._rest = next(self._source, b"")
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count
