"""The form of a bad request, and the bodies that most of them are changed from."""

import json
from typing import Any, NamedTuple

V1 = "/v1/models/tiny:predict"
LINE = "/v1/models/line:predict"
REGRESS = "/v1/models/line:regress"
API = "/api/v1/models/line/predict"
V2 = "/v2/models/tiny/infer"
HEADER = "inference-header-content-length"
NOT_JSON = "not JSON: ..."
PLACE_DISTANCE: dict[str, Any] = {"row": 0, "field": "distance"}
PLACE_HOUR: dict[str, Any] = {"row": 0, "field": "hour"}
ROW = {"carrier": "UA", "distance": 719.0, "hour": 15}
INPUTS: list[dict[str, Any]] = [
    {"name": "carrier", "shape": [1], "datatype": "BYTES", "data": ["UA"]},
    {"name": "distance", "shape": [1], "datatype": "FP64", "data": [719.0]},
    {"name": "hour", "shape": [1], "datatype": "INT64", "data": [15]},
]


class BadRequest(NamedTuple):
    """A request and its answer: status, text (its beginning, where it ends in "..."), place."""

    what: str
    path: str
    body: bytes
    text: str
    status: int = 400
    row: int | None = None
    field: str | None = None
    method: str = "POST"
    headers: dict[str, str] = {}  # noqa: RUF012 - read only


def rows(*instances: Any) -> bytes:
    """Row form."""
    return json.dumps({"instances": list(instances)}).encode()


def columns(**inputs: Any) -> bytes:
    """Column form."""
    return json.dumps({"inputs": inputs}).encode()


def tensors(*, place: int = 2, more: Any = None, **change: Any) -> bytes:
    """A good request but for one tensor, and for what stands beside the tensors."""
    changed = [dict(tensor) for tensor in INPUTS]
    changed[place].update(change)
    return json.dumps({"inputs": changed, **(more or {})}).encode()


def sized(size: object, binary: bytes, name: str = "hour") -> dict[str, Any]:
    """A request whose last tensor comes as bytes behind the JSON."""
    changed = [dict(tensor) for tensor in INPUTS]
    changed.sort(key=lambda tensor: tensor["name"] == name)
    del changed[-1]["data"]
    changed[-1]["parameters"] = {"binary_data_size": size}
    text = json.dumps({"inputs": changed}).encode()
    return {"path": V2, "body": text + binary, "headers": {HEADER: str(len(text))}}


def header(length: str) -> dict[str, Any]:
    """A good request that says that its JSON has another length."""
    return {"path": V2, "body": tensors(), "headers": {HEADER: length}}


def value(literal: str) -> bytes:
    """A row whose distance is written so, whether that is JSON or not."""
    return b'{"instances": [{"carrier": "UA", "distance": %b, "hour": 1}]}' % literal.encode()
