"""Tensors as bytes behind the JSON: the binary tensor data extension, both ways.

Little-endian, without padding; an element of BYTES is its length in four bytes and then its text.
Source: triton-inference-server/server, docs/protocol/extension_binary_data.md.
"""

from typing import Any, NamedTuple

import numpy as np

from ferryman.serving.models.rows import RowError
from ferryman.serving.protocols.answers import Refusal
from ferryman.serving.protocols.requests import Request

EXTENSION = "binary_tensor_data"
HEADER = b"inference-header-content-length"
OCTETS = (b"content-type", b"application/octet-stream")
BYTES = "BYTES"
NUMBERS = {
    "INT8": "<i1",
    "INT16": "<i2",
    "INT32": "<i4",
    "INT64": "<i8",
    "UINT8": "<u1",
    "UINT16": "<u2",
    "UINT32": "<u4",
    "UINT64": "<u8",
    "FP16": "<f2",
    "FP32": "<f4",
    "FP64": "<f8",
}
_LENGTH = 4


class Body(NamedTuple):
    """A request's JSON, and the bytes behind it."""

    json: bytes
    binary: "BinaryReader"


class BinaryReader:
    """Takes tensors off the bytes behind the JSON, in the order of the tensors in it."""

    def __init__(self, data: bytes) -> None:
        self._data = memoryview(data)
        self._at = 0

    def take(self, name: str, datatype: str, rows: int, size: object) -> list[Any]:
        """The next tensor's values; RowError where its size, rows and bytes do not agree."""
        left = len(self._data) - self._at
        if type(size) is not int or size < 0:
            raise RowError("binary_data_size must be a whole number of bytes", field=name)
        if size > left:
            text = f"binary_data_size is {size}, but {left} bytes are left of the body"
            raise RowError(text, field=name)
        data = self._data[self._at : self._at + size]
        self._at += size
        if datatype == BYTES:
            return _texts(name, data, rows)
        dtype = np.dtype(NUMBERS[datatype])
        if size != rows * dtype.itemsize:
            wanted = rows * dtype.itemsize
            text = f"{datatype} of shape [{rows}] is {wanted} bytes, not {size}"
            raise RowError(text, field=name)
        values: list[Any] = np.frombuffer(data, dtype=dtype).tolist()
        return values

    def end(self) -> None:
        """Refusal 400 where bytes are left that belong to no tensor."""
        left = len(self._data) - self._at
        if left:
            raise Refusal(400, f"{left} bytes of the body belong to no tensor")


def split(request: Request) -> Body:
    """A body's two parts; without the header's length it is JSON alone."""
    if request.json_length is None:
        return Body(request.body, BinaryReader(b""))
    length = request.json_length
    return Body(request.body[:length], BinaryReader(request.body[length:]))


def pack_doubles(values: Any) -> bytes:
    """Numbers, or rows of them, as FP64."""
    return np.asarray(values, dtype="<f8").tobytes()


def _texts(name: str, data: memoryview, rows: int) -> list[str]:
    texts: list[str] = []
    at = 0
    while at < len(data):
        if len(texts) == rows:
            raise RowError(f"holds more than {rows} texts", field=name)
        end = at + _LENGTH
        if end > len(data):
            raise RowError("ends within the length of a text", row=len(texts), field=name)
        length = int.from_bytes(data[at:end], "little")
        if end + length > len(data):
            raise RowError("ends within a text", row=len(texts), field=name)
        try:
            texts.append(str(data[end : end + length], "utf-8"))
        except UnicodeDecodeError as error:
            raise RowError("must be UTF-8 text", row=len(texts), field=name) from error
        at = end + length
    if len(texts) != rows:
        raise RowError(f"holds {len(texts)} texts, not {rows}", field=name)
    return texts
