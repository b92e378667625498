"""The sha256 over rows that arrive in batches; how they are cut into batches does not count."""

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ferryman.data.rows.cells import Misfits


class RowsDigest:
    """Takes raw Arrow columns in; order of rows and columns counts, the size of batches does not.

    Each column has a digest of its own over validity, lengths and values, because only what stands
    one below the other can be added batch by batch.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._parts = {
            name: {part: hashlib.sha256() for part in ("valid", "lengths", "values")}
            for name in names
        }
        self._misfits = hashlib.sha256()
        self.rows = 0
        self.bytes = 0

    def add(self, table: Any, misfits: Misfits) -> None:
        """Take the next rows; misfits are null in the table, and count as what they were."""
        for name, cells in misfits.items():
            for row, text in cells.items():
                self._misfits.update(json.dumps([self.rows + row, name, text]).encode())
        self.rows += table.num_rows
        for name, parts in self._parts.items():
            column = table.column(name)
            self._update(parts["valid"], _bytes(pc.is_valid(column).cast(pa.uint8())))
            present = pc.drop_null(column)
            if not len(present):
                continue
            if not (pa.types.is_primitive(present.type) or pa.types.is_boolean(present.type)):
                lengths = pc.binary_length(present.cast(pa.string()))
                self._update(parts["lengths"], _bytes(lengths.cast(pa.int64())))
                for chunk in present.cast(pa.string()).chunks:
                    self._update(parts["values"], _text_bytes(chunk))
                continue
            self._update(parts["values"], _bytes(_eight_bytes(present)))

    def _update(self, digest: Any, content: bytes) -> None:
        digest.update(content)
        self.bytes += len(content)

    def hexdigest(self) -> str:
        """The digest of all rows so far."""
        total = {
            name: {part: found.hexdigest() for part, found in parts.items()}
            for name, parts in self._parts.items()
        }
        return hashlib.sha256(
            json.dumps([self.rows, total, self._misfits.hexdigest()]).encode()
        ).hexdigest()


def _eight_bytes(column: Any) -> Any:
    """Numbers, times and truths in a width that does not depend on the batch."""
    if pa.types.is_floating(column.type):
        return column.cast(pa.float64())
    if pa.types.is_boolean(column.type):
        return column.cast(pa.uint8())
    return column.cast(pa.int64())


def _bytes(column: Any) -> bytes:
    values = column.to_numpy()
    return bytes(values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes())


def _text_bytes(chunk: Any) -> bytes:
    """The texts of one chunk, one after the other, straight from its buffer."""
    if not len(chunk):
        return b""
    offsets = chunk.buffers()[1]
    first = chunk.offset * 4
    start = int.from_bytes(offsets[first : first + 4], "little")
    last = first + len(chunk) * 4
    end = int.from_bytes(offsets[last : last + 4], "little")
    return bytes(chunk.buffers()[2][start:end])
