"""TensorFlow Serving's REST: predict, classify and regress, a model's state and its signatures.

Also our own path `/api/v1/models/{name}/predict`, which takes a bare list of rows besides.
Source: tensorflow/serving, g3doc/api_rest.md and util/json_tensor.cc.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from ferryman.serving.models.onnx_model import OnnxModel, Scores
from ferryman.serving.models.rows import ENTITY_KEY, EVENT_TIME, MAX_ROWS, RowError, RowSchema
from ferryman.serving.protocols.answers import bad_row
from ferryman.serving.protocols.json_bodies import Load, as_object, read_json
from ferryman.serving.protocols.model_facts import NO_VERSIONS, Versions, label_facts, task_facts
from ferryman.serving.protocols.requests import JSON, Answer, Asked, Request

_DTYPES = {"integer": "DT_INT64", "number": "DT_DOUBLE", "category": "DT_STRING"}
_METHOD = "tensorflow/serving/"
DEFAULT_SIGNATURE = "serving_default"
# What a client's question means for each task; TensorFlow's own two-class models regress too.
_TASKS: Mapping[str, tuple[str, ...]] = {
    "classify": ("binary", "multiclass"),
    "regress": ("regression", "binary"),
}
_BINARY_LABELS = ("0", "1")


def read(request: Request, schema: RowSchema, load: Load = read_json) -> Asked:
    """The rows of a request; its form is the key that answers are given under.

    Predict takes {"instances": [rows]} or {"inputs": {column: [values]}}, classify and regress
    {"examples": [rows], "context": {column: value}}.
    """
    content = load(request.body)
    if request.route.verb in _TASKS:
        content = as_object(content)
        _check_keys(content, {"examples", "context"}, request.route.verb)
        return Asked(schema.read_rows(_examples(content, schema)), "results")
    if request.route.dialect == "api":
        # Our own path takes what predict takes, and rows without any object around them.
        if isinstance(content, list):
            return Asked(schema.read_rows(content), "predictions")
        return Asked(_read_predict(as_object(content), schema).rows, "predictions")
    return _read_predict(as_object(content), schema)


def answer(request: Request, asked: Asked, model: OnnxModel, scores: Scores) -> Answer:
    """Rows come back as predictions, columns as outputs: a number, or a list of them, a row."""
    verb = request.route.verb
    if verb in _TASKS:
        content = {asked.form: _results(verb, model, scores)}
        # TensorFlow's page says `result`, its program answers `results`: clients read either.
        return Answer(orjson.dumps({**content, "result": content["results"]}), [JSON])
    return Answer(orjson.dumps({asked.form: scores}), [JSON])


def describe(
    model: OnnxModel, versions: Versions = NO_VERSIONS, *, is_one: bool = False
) -> dict[str, Any]:
    """The state of every loaded version, or with `is_one` of `model` alone, and its release."""
    identity = model.identity
    told = [model] if is_one or not versions else list(versions.values())
    return {
        "model_version_status": [
            {
                "version": str(version.identity.version),
                "state": "AVAILABLE",
                "status": {"error_code": "OK", "error_message": ""},
            }
            for version in told
        ],
        "version": identity.version,
        "epoch": identity.epoch,
        "digest": identity.digest,
        **label_facts(versions),
        **task_facts(model),
    }


def describe_signatures(model: OnnxModel) -> dict[str, Any]:
    """The signatures of a model, one a verb that its task answers, as GetModelMetadata tells."""
    inputs = {name: _tensor(name, _DTYPES[kind], [-1]) for name, kind in model.schema.types.items()}
    shape = [-1, model.classes] if model.classes else [-1]
    outputs = {model.signature.output: _tensor(model.signature.output, "DT_DOUBLE", shape)}
    verbs = {DEFAULT_SIGNATURE: "predict"}
    for verb, tasks in _TASKS.items():
        if model.signature.task in tasks:
            verbs[_METHOD + verb] = verb
    signatures = {
        name: {
            "inputs": inputs,
            "outputs": outputs if verb != "classify" else _class_outputs(model),
            "method_name": _METHOD + verb,
        }
        for name, verb in verbs.items()
    }
    identity = model.identity
    return {
        "model_spec": {
            "name": identity.name,
            "signature_name": "",
            "version": str(identity.version),
        },
        "metadata": {"signature_def": {"signature_def": signatures}},
        **task_facts(model),
    }


def _read_predict(content: Mapping[str, Any], schema: RowSchema) -> Asked:
    if len(content) != 1:
        _check_keys(content, {"instances", "inputs"}, "predict")
    if ("instances" in content) == ("inputs" in content):
        raise RowError("the body needs exactly one of 'instances' and 'inputs'")
    if "instances" in content:
        return Asked(schema.read_rows(content["instances"]), "predictions")
    inputs = content["inputs"]
    if isinstance(inputs, list) and len(schema.names) == 1:
        # A model of one input takes its tensor without the name: a row each, as in row form.
        return Asked(schema.read_rows(inputs), "outputs")
    return Asked(schema.read_columns(inputs), "outputs")


def _check_keys(content: Mapping[str, Any], known: set[str], verb: str) -> None:
    unknown = content.keys() - known - {"signature_name"}
    if unknown:
        raise RowError("unknown key in the body", field=min(unknown)[:100])
    name = content.get("signature_name")
    if name is not None and name not in ("", DEFAULT_SIGNATURE, _METHOD + verb):
        raise RowError(
            f"no such signature; there are {DEFAULT_SIGNATURE!r} and {_METHOD + verb!r}",
            field="signature_name",
        )


def _examples(content: Mapping[str, Any], schema: RowSchema) -> list[Any]:
    """The rows of {"examples", "context"}: what all share stands in the context, once."""
    examples, context = content.get("examples"), content.get("context", {})
    if not isinstance(examples, list) or not examples:
        raise RowError("examples must be a list of at least one object", field="examples")
    if len(examples) > MAX_ROWS:
        raise RowError(f"{len(examples)} rows; at most {MAX_ROWS} in one request")
    if not isinstance(context, dict):
        raise RowError("context must be an object of column: value", field="context")
    # Copied into every row, so nothing may stand here that is no column.
    unknown = context.keys() - {*schema.names, *schema.entity, ENTITY_KEY, EVENT_TIME}
    if unknown:
        raise RowError("unknown column in the context", field=min(unknown)[:100])
    shared = _unwrapped(context)
    rows: list[Any] = []
    for index, example in enumerate(examples):
        if not isinstance(example, dict):
            raise RowError("an example must be an object of column: value", row=index)
        twice = shared.keys() & example.keys()
        if twice:
            raise RowError("stands in the context too", row=index, field=min(twice))
        rows.append({**shared, **_unwrapped(example)})
    return rows


def _unwrapped(example: Mapping[str, Any]) -> dict[str, Any]:
    """A tf.Example holds lists: a list of one value is that value."""
    return {
        name: value[0] if type(value) is list and len(value) == 1 else value
        for name, value in example.items()
    }


def _results(verb: str, model: OnnxModel, scores: Scores) -> list[Any]:
    task = model.signature.task
    if task not in _TASKS[verb]:
        text = f"a {task} model answers no :{verb}; ask for {' or '.join(_verbs(task))}"
        raise bad_row(RowError(text))
    if verb == "regress":
        return list(scores)
    rows: Sequence[Any] = scores
    if task == "binary":
        rows = [(1.0 - score, score) for score in rows]
    labels = _labels(model)
    return [[list(pair) for pair in zip(labels, row, strict=True)] for row in rows]


def _verbs(task: str) -> list[str]:
    return [":predict", *(f":{verb}" for verb, tasks in _TASKS.items() if task in tasks)]


def _labels(model: OnnxModel) -> Sequence[str]:
    """The classes in the order of their scores; of two classes the second is the label's own."""
    return model.signature.classes if model.classes else _BINARY_LABELS


def _class_outputs(model: OnnxModel) -> dict[str, Any]:
    shape = [-1, len(_labels(model))]
    return {
        "classes": _tensor("classes", "DT_STRING", shape),
        "scores": _tensor("scores", "DT_DOUBLE", shape),
    }


def _tensor(name: str, dtype: str, shape: Sequence[int]) -> dict[str, Any]:
    """A TensorInfo as protobuf's JSON writes it: 64-bit sizes are text."""
    dimensions = [{"size": str(size), "name": ""} for size in shape]
    return {
        "dtype": dtype,
        "tensor_shape": {"dim": dimensions, "unknown_rank": False},
        "name": name,
    }
