"""One delivered file, wherever it is kept: opened anew for each pass, digested as it is read."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO
from urllib.parse import unquote

from ferryman.errors import DependencyUnavailable
from ferryman.runtime.object_store import ObjectStore

CHUNK = 1 << 20


@dataclass(frozen=True)
class Delivery:
    """A file by the place that it is kept in and its key there."""

    store: ObjectStore
    key: str

    @property
    def shown(self) -> str:
        """The file as messages name it: a path on a disk, an address elsewhere."""
        address = self.store.uri(self.key)
        return unquote(address.removeprefix("file://")) if address[:7] == "file://" else address

    @property
    def format(self) -> str:
        """`csv`, `jsonl` or `parquet`: the ending, without `.gz`."""
        ending = self.key.removesuffix(".gz").rpartition(".")[2]
        return "jsonl" if ending == "ndjson" else ending

    @property
    def packed(self) -> bool:
        """Whether the bytes are gzip."""
        return self.key.endswith(".gz")

    @contextmanager
    def opened(self) -> Iterator[BinaryIO]:
        """The file as a seekable stream; DependencyUnavailable (exit 6) where it cannot be read."""
        try:
            stream = self.store.open(self.key)
        except OSError as error:
            raise DependencyUnavailable(
                f"{self.shown}: not readable: {error.strerror}",
                remedy="Allow this user to read the file.",
            ) from error
        if stream is None:
            raise self.changed("it is gone")
        with stream:
            yield stream

    def changed(self, how: str) -> DependencyUnavailable:
        """The error of a file that was not left alone while it was read."""
        return DependencyUnavailable(
            f"{self.shown}: changed while it was read: {how}",
            remedy="Wait until the delivery is complete, then run the window again.",
        )


class DigestedStream:
    """Reads a stream from its start and keeps the sha256 and the number of all bytes."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._total = hashlib.sha256()
        self.size = 0

    @property
    def sha256(self) -> str:
        """The digest of what was read so far."""
        return self._total.hexdigest()

    def read(self, size: int = CHUNK) -> bytes:
        """The next bytes, at most `size`; none at the end."""
        piece = self._stream.read(size)
        self._total.update(piece)
        self.size += len(piece)
        return piece

    def drain(self) -> None:
        """Read what is left."""
        while self.read(CHUNK):
            continue
