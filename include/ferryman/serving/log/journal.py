"""The journal of the prediction log: what was answered and is in no Parquet file yet.

A killed process loses what it had not handed to the kernel, a fraction of a second; the next one
to look (a replica that starts, or maintenance) turns what the journal holds into Parquet. A journal
is a file of frames: length and CRC-32 of an Arrow stream of one batch, then its bytes. Its owner
holds a lock on it as long as it lives, so that nobody recovers what is still being written. Parquet
files carry the journal's name: made twice, they are one.
"""

import fcntl
import logging
import os
import re
import struct
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

from ferryman.serving.log.rows import Place, place_of

JOURNALS = ".journals"
_FRAME = struct.Struct("<4sII")
_MAGIC = b"FPL1"
PARQUET: Mapping[str, Any] = {
    "compression": "zstd",
    "compression_level": 1,
    "row_group_size": 131_072,
}
_UNFINISHED_SECONDS = 3600.0
_NOT_PLAIN = re.compile(r"[^A-Za-z0-9_]+")

logger = logging.getLogger(__name__)


class Journal:
    """One journal file, which is made with the first batch. Of one thread."""

    _numbers = count(1)

    def __init__(self, root: Path, replica: str) -> None:
        plain = _NOT_PLAIN.sub("_", replica) or "server"
        self.name = f"{time.time_ns()}-{plain}-{os.getpid()}-{next(self._numbers)}"
        self._file = root / JOURNALS / f"{self.name}.journal"
        self._handle: int | None = None
        self._size = 0

    def append(self, batches: Sequence[Any]) -> None:
        """Add batches; OSError where the disk takes no more, with nothing of them kept."""
        if self._handle is None:
            self._handle = _make_locked(self._file)
        try:
            size = sum(_append_frame(self._handle, batch) for batch in batches)
        except OSError:
            os.ftruncate(self._handle, self._size)
            os.lseek(self._handle, self._size, os.SEEK_SET)
            raise
        self._size += size

    def remove(self) -> None:
        """Forget it: its rows are in Parquet files, or counted as dropped."""
        if self._handle is not None:
            self._file.unlink(missing_ok=True)
            os.close(self._handle)
            self._handle = None


def recover(root: Path) -> int:
    """Write what killed servers left in journals to Parquet files; how many rows there were.

    Also removes files that they had begun. Several processes may do so at once: each journal is
    recovered by one of them.
    """
    rows = 0
    for file in sorted((root / JOURNALS).glob("*.journal")):
        try:
            rows += _recover_one(root, file)
        except (OSError, ValueError) as error:  # the journal stays for the next one
            logger.error("journal %s cannot be recovered yet: %s", file.name, error)
    old = time.time() - _UNFINISHED_SECONDS
    for left in root.glob("*/date=*/.*.tmp"):
        with suppress(FileNotFoundError):
            if left.stat().st_mtime < old:
                left.unlink()
    return rows


def write_file(root: Path, name: str, place: Place, batches: Sequence[Any]) -> None:
    """Write a place's batches as one Parquet file that carries the journal's name.

    A file that is there already holds the same rows and stays.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder = root / place.model / f"date={place.day}"
    target = folder / f"{name}-{place.part}.parquet"
    if target.exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_batches(batches)
    scratch = target.with_name(f".{target.stem}.tmp")
    try:
        with scratch.open("wb") as stream:
            pq.write_table(table, stream, use_dictionary=_texts(table), **PARQUET)
            stream.flush()
            os.fsync(stream.fileno())
        scratch.rename(target)
    except BaseException:
        scratch.unlink(missing_ok=True)
        raise


def _texts(table: Any) -> list[str]:
    """Its columns of text: in numbers a dictionary costs much and saves little."""
    import pyarrow as pa

    return [field.name for field in table.schema if pa.types.is_string(field.type)]


def _append_frame(handle: int, batch: Any) -> int:
    """Write a frame; its size. OSError where the disk is full, with the frame torn."""
    import pyarrow as pa

    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as stream:
        stream.write_batch(batch)
    content = memoryview(sink.getvalue())
    head = memoryview(_FRAME.pack(_MAGIC, len(content), zlib.crc32(content)))
    for part in (head, content):
        rest = part
        while rest:
            rest = rest[os.write(handle, rest) :]
    return len(head) + len(content)


def _make_locked(file: Path) -> int:
    """A new file with our lock on it. Whoever recovers may meet it before the lock: again then."""
    file.parent.mkdir(parents=True, exist_ok=True)
    while True:
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
        fcntl.flock(handle, fcntl.LOCK_EX)
        if os.fstat(handle).st_nlink:
            return handle
        os.close(handle)


def _recover_one(root: Path, file: Path) -> int:
    try:
        handle = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return 0
    with os.fdopen(handle, "rb") as stream:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return 0  # its owner lives, or another one is at it
        if not os.fstat(handle).st_nlink:
            return 0
        found: dict[Place, list[Any]] = {}
        rows = 0
        for batch in _batches(stream, file):
            found.setdefault(place_of(batch), []).append(batch)
            rows += batch.num_rows
        for place, batches in found.items():
            write_file(root, file.stem, place, batches)
        file.unlink(missing_ok=True)
    if rows:
        logger.warning("%d predictions of a killed server recovered from %s", rows, file.name)
    return rows


def _batches(stream: Any, file: Path) -> Iterator[Any]:
    """The batches of whole frames; what a kill tore at the end is left out, and said."""
    import pyarrow as pa

    size, read = os.fstat(stream.fileno()).st_size, 0
    while head := stream.read(_FRAME.size):
        magic, length, checksum = _FRAME.unpack(head) if len(head) == _FRAME.size else (b"", 0, 0)
        content = stream.read(length) if magic == _MAGIC else b""
        if magic != _MAGIC or len(content) < length or zlib.crc32(content) != checksum:
            logger.warning("journal %s: %d torn bytes at its end left out", file.name, size - read)
            return
        read += len(head) + length
        yield from pa.ipc.open_stream(content)
