"""The two request forms: TensorFlow Serving's REST and the Open Inference Protocol (V2)."""

from collections.abc import Mapping
from itertools import chain
from typing import Any, Literal

from ferryman.serving.answers import Refusal, read_json_object
from ferryman.serving.onnx_model import OnnxModel, Scores
from ferryman.serving.rows import RowError, Rows, RowSchema

_DATATYPES = {"integer": "INT64", "number": "FP64", "category": "BYTES"}
_NUMERIC = frozenset(
    {"FP32", "FP64", "INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32"}
)


Dialect = Literal["v1", "v2"]


def read_rows(body: bytes, dialect: Dialect, schema: RowSchema) -> Rows:
    """The rows of a request's body; Refusal or RowError where it holds none."""
    content = read_json_object(body)
    return read_v2(content, schema) if dialect == "v2" else read_v1(content, schema)


def read_v1(content: Mapping[str, Any], schema: RowSchema) -> Rows:
    """Rows from {"instances": [{column: value}]} or {"inputs": {column: [values]}}."""
    unknown = content.keys() - {"instances", "inputs", "signature_name"}
    if unknown:
        raise RowError("unknown key in the body", field=min(unknown)[:100])
    if ("instances" in content) == ("inputs" in content):
        raise RowError("the body needs exactly one of 'instances' and 'inputs'")
    if "instances" in content:
        return schema.read_rows(content["instances"])
    return schema.read_columns(content["inputs"])


def answer_v1(content: Mapping[str, Any], scores: Scores) -> dict[str, Any]:
    """Rows come back as predictions, columns as outputs: a number, or a list of them, a row."""
    return {"predictions" if "instances" in content else "outputs": scores}


def read_v2(content: Mapping[str, Any], schema: RowSchema) -> Rows:
    """Rows from {"inputs": [{"name", "shape", "datatype", "data"}]}, one tensor a column."""
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
    return schema.read_columns(columns)


def answer_v2(content: Mapping[str, Any], model: OnnxModel, scores: Scores) -> dict[str, Any]:
    """One output tensor named as the label, [rows] or [rows, classes]; data row by row, flat."""
    data: list[Any] = scores
    shape = [len(scores)]
    if model.classes:
        shape, data = [len(scores), model.classes], list(chain.from_iterable(data))
    answer: dict[str, Any] = {
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
    if "id" in content:
        if not isinstance(content["id"], str):
            raise Refusal(400, "id must be text")
        answer["id"] = content["id"][:200]
    return answer


def status_v1(model: OnnxModel) -> dict[str, Any]:
    """What TensorFlow Serving tells of a model, and which release it is."""
    identity = model.identity
    return {
        "model_version_status": [
            {
                "version": str(identity.version),
                "state": "AVAILABLE",
                "status": {"error_code": "OK", "error_message": ""},
            }
        ],
        "version": identity.version,
        "epoch": identity.epoch,
        "digest": identity.digest,
        **_task(model),
    }


def metadata_v2(model: OnnxModel) -> dict[str, Any]:
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
        **_task(model),
    }


def _task(model: OnnxModel) -> dict[str, Any]:
    """What the numbers of an answer mean: the task, and the classes in their order."""
    classes = {"classes": model.signature.classes} if model.classes else {}
    return {"task": model.signature.task, **classes}


def _read_tensor(name: str, tensor: Mapping[str, Any], schema: RowSchema) -> list[Any]:
    data, shape, datatype = (tensor.get(key) for key in ("data", "shape", "datatype"))
    if not isinstance(data, list) or shape not in ([len(data)], [len(data), 1]):
        raise RowError("shape must be [rows] or [rows, 1], with as many values", field=name)
    if name in schema.types:
        text = schema.types[name] == "category"
        if (datatype == "BYTES") != text or (not text and datatype not in _NUMERIC):
            raise RowError(f"datatype must be {_DATATYPES[schema.types[name]]}", field=name)
    return data
