"""Arrow columns from numbers and texts, without pyarrow.array.

That function imports pandas wherever it is installed: 40 MB and most of a second. Here numpy lays
the cells out and Arrow takes its memory as it is.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa


def number_column(values: Sequence[Any], *, whole: bool = False) -> Any:
    """Numbers as float64, or as int64 where they are whole; null and NaN become null.

    Whole numbers go by way of float64: rows are refused above 2**53, where it would lose some.
    """
    cells = np.array(values, dtype=np.float64)
    valid = ~np.isnan(cells)
    if whole:
        cells = np.where(valid, cells, 0).astype(np.int64)
    return _column(pa.int64() if whole else pa.float64(), cells, valid)


def time_column(moments: Sequence[int]) -> Any:
    """Microseconds since 1970 as UTC times."""
    return _column(pa.timestamp("us", tz="UTC"), np.array(moments, dtype=np.int64))


def constant_column(value: int | str, rows: int) -> Any:
    """One whole number (int32) or text in every row."""
    if isinstance(value, int):
        return _column(pa.int32(), np.full(rows, value, dtype=np.int32))
    data = value.encode()
    offsets = np.arange(rows + 1, dtype=np.int32) * np.int32(len(data))
    return pa.Array.from_buffers(
        pa.string(), rows, [None, _memory(offsets), pa.py_buffer(data * rows)]
    )


def text_column(values: Sequence[str | None]) -> Any:
    """Texts; None becomes null."""
    valid = None
    if None in values:
        valid = np.fromiter((value is not None for value in values), np.bool_, len(values))
        values = ["" if value is None else value for value in values]
    texts: Sequence[Any] = values
    joined = "".join(texts)
    data = joined.encode(errors="replace")
    if len(data) != len(joined):  # not ASCII: a character is several bytes
        texts = [text.encode(errors="replace") for text in texts]
    offsets = np.zeros(len(texts) + 1, dtype=np.int32)
    np.cumsum(np.fromiter(map(len, texts), np.int32, len(texts)), out=offsets[1:])
    buffers = [_validity(valid), _memory(offsets), pa.py_buffer(data)]
    return pa.Array.from_buffers(pa.string(), len(texts), buffers)


def encoded_column(lengths: npt.NDArray[np.int32], content: memoryview) -> Any:
    """Texts from one run of UTF-8, each so many bytes long; null where a length is negative."""
    offsets = np.zeros(len(lengths) + 1, dtype=np.int32)
    np.cumsum(np.maximum(lengths, 0), out=offsets[1:])
    buffers = [_validity(lengths >= 0), _memory(offsets), pa.py_buffer(bytes(content))]
    return pa.Array.from_buffers(pa.string(), len(lengths), buffers)


def list_column(values: Sequence[Sequence[float]]) -> Any:
    """Lists of numbers, all of one length, as list<float64>."""
    cells = np.array(values, dtype=np.float64)
    rows, width = cells.shape
    offsets = np.arange(rows + 1, dtype=np.int32) * np.int32(width)
    flat = _column(pa.float64(), cells.reshape(-1))
    kind = pa.list_(pa.float64())
    return pa.Array.from_buffers(kind, rows, [None, _memory(offsets)], children=[flat])


def mask_column(mask: npt.NDArray[np.bool_]) -> Any:
    """Truth values, to filter by."""
    return pa.Array.from_buffers(pa.bool_(), len(mask), [None, _bits(mask)])


def _column(kind: Any, cells: npt.NDArray[Any], valid: npt.NDArray[np.bool_] | None = None) -> Any:
    return pa.Array.from_buffers(kind, len(cells), [_validity(valid), _memory(cells)])


def _validity(valid: npt.NDArray[np.bool_] | None) -> Any:
    return None if valid is None or valid.all() else _bits(valid)


def _bits(mask: npt.NDArray[np.bool_]) -> Any:
    return _memory(np.packbits(mask, bitorder="little"))


def _memory(cells: npt.NDArray[Any]) -> Any:
    return pa.py_buffer(np.ascontiguousarray(cells))
