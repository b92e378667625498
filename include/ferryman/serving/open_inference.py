"""The Open Inference Protocol, version 2, over REST."""

from collections.abc import Mapping
from itertools import chain
from typing import Any

import orjson

from ferryman.serving.answers import Refusal, read_json_object
from ferryman.serving.model_facts import task_facts
from ferryman.serving.onnx_model import OnnxModel, Scores
from ferryman.serving.requests import JSON, Answer, Asked, Request
from ferryman.serving.rows import RowError, RowSchema

_DATATYPES = {"integer": "INT64", "number": "FP64", "category": "BYTES"}
_NUMERIC = frozenset(
    {"FP32", "FP64", "INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32"}
)


def read(request: Request, schema: RowSchema) -> Asked:
    """Rows from {"inputs": [{"name", "shape", "datatype", "data"}]}, one tensor a column."""
    content = read_json_object(request.body)
    unknown = content.keys() - {"id", "inputs", "outputs", "parameters"}
    if unknown:
        raise RowError("unknown key in the body", field=min(unknown)[:100])
    tensors = content.get("inputs")
    if not isinstance(tensors, list) or not tensors:
        raise RowError("inputs must be a list of tensors")
    columns: dict[str, Any] = {}
    for tensor in tensors:
        name = tensor.get("name") if isinstance(tensor, dict) else None
        if not isinstance(name, str) or name in columns:
            raise RowError("every tensor needs a name of its own")
        columns[name] = _read_tensor(name, tensor, schema)
    return Asked(schema.read_columns(columns), _request_id(content))


def answer(request: Request, asked: Asked, model: OnnxModel, scores: Scores) -> Answer:
    """One output tensor named as the label, [rows] or [rows, classes]; data row by row, flat."""
    del request
    data: list[Any] = scores
    shape = [len(scores)]
    if model.classes:
        shape, data = [len(scores), model.classes], list(chain.from_iterable(data))
    content: dict[str, Any] = {
        "model_name": model.identity.name,
        "model_version": str(model.identity.version),
        "outputs": [
            {
                "name": model.signature.output,
                "datatype": "FP64",
                "shape": shape,
                "data": data,
            }
        ],
    }
    if asked.form is not None:
        content["id"] = asked.form
    return Answer(orjson.dumps(content), [JSON])


def _request_id(content: Mapping[str, Any]) -> str | None:
    given = content.get("id")
    if given is not None and not isinstance(given, str):
        raise Refusal(400, "id must be text")
    return given[:200] if given is not None else None


def describe(model: OnnxModel) -> dict[str, Any]:
    """The tensors that a model takes and gives."""
    return {
        "name": model.identity.name,
        "versions": [str(model.identity.version)],
        "platform": "onnxruntime_onnx",
        "inputs": [
            {"name": name, "datatype": _DATATYPES[kind], "shape": [-1]}
            for name, kind in model.schema.types.items()
        ],
        "outputs": [
            {
                "name": model.signature.output,
                "datatype": "FP64",
                "shape": [-1, model.classes] if model.classes else [-1],
            }
        ],
        **task_facts(model),
    }


def _read_tensor(name: str, tensor: Mapping[str, Any], schema: RowSchema) -> list[Any]:
    data, shape, datatype = (tensor.get(key) for key in ("data", "shape", "datatype"))
    if not isinstance(data, list) or shape not in ([len(data)], [len(data), 1]):
        raise RowError("shape must be [rows] or [rows, 1], with as many values", field=name)
    if name in schema.types:
        text = schema.types[name] == "category"
        if (datatype == "BYTES") != text or (not text and datatype not in _NUMERIC):
            raise RowError(f"datatype must be {_DATATYPES[schema.types[name]]}", field=name)
    return data
