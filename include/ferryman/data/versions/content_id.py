"""The identity of a table: its schema and every value, whatever file they are stored in."""

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ferryman.spec.windows import Window, format_time


def content_id(window: Window, tables: Mapping[str, Any]) -> str:
    """The sha256 over a window and its tables; row order counts, storage and chunks do not."""
    total = hashlib.sha256()
    total.update(f"snapshot 1\0{format_time(window.start)}\0{format_time(window.end)}\n".encode())
    for name, table in tables.items():
        total.update(f"table {name}\0{table.num_rows}\0{table.num_columns}\n".encode())
        for field in table.schema:
            _add_column(total, field, table.column(field.name))
    return total.hexdigest()


def _add_column(total: Any, field: Any, column: Any) -> None:
    """Validity, then the values in little-endian fixed width; text as lengths and bytes."""
    total.update(f"column {field.name}\0{field.type}\n".encode())
    array = column.combine_chunks()
    total.update(_bytes(pc.is_valid(array).cast(pa.uint8())))
    if pa.types.is_string(field.type):
        filled = pc.fill_null(array, "")
        total.update(_bytes(pc.binary_length(filled).cast(pa.int64())))
        total.update(_text_bytes(filled))
    elif pa.types.is_timestamp(field.type):
        total.update(_bytes(pc.fill_null(array.cast(pa.int64()), 0)))
    elif pa.types.is_boolean(field.type):
        total.update(_bytes(pc.fill_null(array, False).cast(pa.uint8())))
    else:
        total.update(_bytes(pc.fill_null(array, 0)))


def _text_bytes(array: Any) -> memoryview:
    """All texts of an array without a null, one after the other, as they lie in memory."""
    _, offsets, data = array.buffers()
    if data is None or len(array) == 0:
        return memoryview(b"")
    edges = np.frombuffer(offsets, dtype=np.int32)[array.offset : array.offset + len(array) + 1]
    return memoryview(data)[int(edges[0]) : int(edges[-1])]


def _bytes(array: Any) -> bytes:
    values = array.to_numpy(zero_copy_only=False)
    return bytes(values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes())
