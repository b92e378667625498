"""TensorFlow Serving's REST: predictions in row and column form, and a model's state."""

from typing import Any

import orjson

from ferryman.serving.answers import read_json_object
from ferryman.serving.model_facts import task_facts
from ferryman.serving.onnx_model import OnnxModel, Scores
from ferryman.serving.requests import JSON, Answer, Asked, Request
from ferryman.serving.rows import RowError, RowSchema


def read(request: Request, schema: RowSchema) -> Asked:
    """Rows from {"instances": [{column: value}]} or {"inputs": {column: [values]}}."""
    content = read_json_object(request.body)
    unknown = content.keys() - {"instances", "inputs", "signature_name"}
    if unknown:
        raise RowError("unknown key in the body", field=min(unknown)[:100])
    if ("instances" in content) == ("inputs" in content):
        raise RowError("the body needs exactly one of 'instances' and 'inputs'")
    if "instances" in content:
        return Asked(schema.read_rows(content["instances"]), "predictions")
    return Asked(schema.read_columns(content["inputs"]), "outputs")


def answer(request: Request, asked: Asked, model: OnnxModel, scores: Scores) -> Answer:
    """Rows come back as predictions, columns as outputs: a number, or a list of them, a row."""
    del request, model
    return Answer(orjson.dumps({asked.form: scores}), [JSON])


def describe(model: OnnxModel) -> dict[str, Any]:
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
        **task_facts(model),
    }
