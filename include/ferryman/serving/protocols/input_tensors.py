"""The input tensors of an Open Inference request: each one column, checked against its datatype."""

from collections.abc import Mapping
from typing import Any

from ferryman.serving.models.rows import MAX_ROWS, RowError, RowSchema
from ferryman.serving.protocols.binary_tensors import BYTES, NUMBERS, BinaryReader

DATATYPES = {"integer": "INT64", "number": "FP64", "category": BYTES}
_KEYS = frozenset({"name", "shape", "datatype", "data", "parameters"})
_WHOLE = {
    name: (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    for name, bits in (("INT8", 8), ("INT16", 16), ("INT32", 32), ("INT64", 64))
} | {
    name: (0, 2**bits - 1)
    for name, bits in (("UINT8", 8), ("UINT16", 16), ("UINT32", 32), ("UINT64", 64))
}
_NUMBER_TEXT = "a whole number (INT8 to UINT64) or FP16, FP32, FP64"


def read_tensors(tensors: object, schema: RowSchema, binary: BinaryReader) -> dict[str, list[Any]]:
    """The values by column; RowError names the tensor, and the row where one is at fault."""
    if not isinstance(tensors, list) or not tensors:
        raise RowError("inputs must be a list of tensors", field="inputs")
    columns: dict[str, list[Any]] = {}
    for tensor in tensors:
        name = tensor.get("name") if isinstance(tensor, dict) else None
        if not isinstance(name, str):
            raise RowError("every tensor must be an object with a name", field="inputs")
        if name in columns:
            raise RowError("two tensors have this name", field=name[:100])
        columns[name] = _read_tensor(name, tensor, schema, binary)
    return columns


def parameters_of(owner: Mapping[str, Any], field: str) -> Mapping[str, Any]:
    """The parameters of a request or a tensor; those that nobody here knows are ignored."""
    given = owner.get("parameters", {})
    if not isinstance(given, dict):
        raise RowError("parameters must be an object", field=field[:100])
    return given


def _read_tensor(
    name: str, tensor: Mapping[str, Any], schema: RowSchema, binary: BinaryReader
) -> list[Any]:
    unknown = tensor.keys() - _KEYS
    if unknown:
        raise RowError(f"unknown key {min(unknown)[:100]!r} in the tensor", field=name[:100])
    datatype = _checked_datatype(name, tensor.get("datatype"), schema)
    shape = tensor.get("shape")
    rows = _rows_of(name, shape)
    size = parameters_of(tensor, name).get("binary_data_size")
    if size is not None:
        if "data" in tensor:
            raise RowError("either data or binary_data_size, not both", field=name[:100])
        return binary.take(name[:100], datatype, rows, size)
    data = tensor.get("data")
    if not isinstance(data, list):
        raise RowError("data must be a list of values", field=name[:100])
    if shape == [rows, 1] and data and type(data[0]) is list:
        data = _unnested(name, data)
    if len(data) != rows:
        raise RowError(f"shape tells of {rows} values, data holds {len(data)}", field=name[:100])
    if datatype in _WHOLE:
        _check_whole(name, datatype, data)
    return data


def _rows_of(name: str, shape: object) -> int:
    """How many rows a shape of [rows] or [rows, 1] tells of."""
    if not isinstance(shape, list) or not all(type(size) is int for size in shape):
        raise RowError("shape must be a list of whole numbers", field=name[:100])
    if len(shape) not in (1, 2) or shape[1:] not in ([], [1]):
        raise RowError("shape must be [rows] or [rows, 1]", field=name[:100])
    rows: int = shape[0]
    if rows < 1:
        raise RowError("shape must tell of at least one row", field=name[:100])
    if rows > MAX_ROWS:
        raise RowError(f"{rows} rows; at most {MAX_ROWS} in one request", field=name[:100])
    return rows


def _checked_datatype(name: str, datatype: object, schema: RowSchema) -> str:
    """The datatype, where a column of this name takes it: text BYTES, numbers every number.

    Columns that are no features are text or whole numbers; rows tell which.
    """
    kind = schema.types.get(name)
    if isinstance(datatype, str):
        if datatype == BYTES and kind in ("category", None):
            return datatype
        if datatype in NUMBERS and (
            kind in ("integer", "number") or (kind is None and datatype in _WHOLE)
        ):
            return datatype
    wanted = {
        "category": BYTES,
        "integer": _NUMBER_TEXT,
        "number": _NUMBER_TEXT,
        None: f"{BYTES} or a whole number",
    }[kind]
    raise RowError(f"datatype must be {wanted}", field=name[:100])


def _unnested(name: str, data: list[Any]) -> list[Any]:
    """The values of [[a], [b]]: data may be nested as its shape is."""
    for index, value in enumerate(data):
        if type(value) is not list or len(value) != 1:
            raise RowError("must be a list of one value", row=index, field=name[:100])
    return [value[0] for value in data]


def _check_whole(name: str, datatype: str, data: list[Any]) -> None:
    low, high = _WHOLE[datatype]
    for index, value in enumerate(data):
        kind = type(value)
        if kind is int and low <= value <= high:
            continue
        # What is no number at all is told by the row's own check.
        if kind in (int, float):
            raise RowError(f"is no {datatype}", row=index, field=name[:100])
