"""The Open Inference Protocol, version 2, over REST, with the binary tensor data extension.

Source: kserve/open-inference-protocol, specification/protocol/inference_rest.md.
"""

from collections.abc import Mapping
from itertools import chain
from typing import Any, NamedTuple

import orjson

from ferryman import __version__
from ferryman.serving.models.onnx_model import OnnxModel, Scores
from ferryman.serving.models.rows import MAX_TEXT, RowError, RowSchema
from ferryman.serving.protocols.answers import bad_row
from ferryman.serving.protocols.binary_tensors import EXTENSION, HEADER, OCTETS, pack_doubles, split
from ferryman.serving.protocols.input_tensors import DATATYPES, parameters_of, read_tensors
from ferryman.serving.protocols.json_bodies import Load, as_object, read_json
from ferryman.serving.protocols.model_facts import NO_VERSIONS, Versions, label_facts, task_facts
from ferryman.serving.protocols.requests import JSON, Answer, Asked, Request

_KEYS = frozenset({"id", "inputs", "outputs", "parameters", "model_name"})


class _Form(NamedTuple):
    """How to answer: the request's own id, the outputs asked for (None: all), bytes or JSON."""

    request_id: str | None
    outputs: Mapping[str, bool | None] | None
    binary: bool


def read(request: Request, schema: RowSchema, load: Load = read_json) -> Asked:
    """Rows from {"inputs": [{"name", "shape", "datatype", "data"}]}, one tensor a column."""
    body = split(request)
    content = as_object(load(body.json))
    unknown = content.keys() - _KEYS
    if unknown:
        raise RowError("unknown key in the body", field=min(unknown)[:100])
    if content.get("model_name", request.route.model) != request.route.model:
        raise RowError("is not the model of the path", field="model_name")
    form = _Form(
        _request_id(content),
        _requested(content),
        _flag(parameters_of(content, "parameters"), "binary_data_output") or False,
    )
    columns = read_tensors(content.get("inputs"), schema, body.binary)
    body.binary.end()
    return Asked(schema.read_columns(columns), form)


def answer(request: Request, asked: Asked, model: OnnxModel, scores: Scores) -> Answer:
    """One output tensor named as the label, [rows] or [rows, classes]; data row by row, flat."""
    del request
    form: _Form = asked.form
    name = model.signature.output
    unknown = form.outputs.keys() - {name} if form.outputs is not None else ()
    if unknown:
        text = f"no such output; there is {name!r}"
        raise bad_row(RowError(text, field=min(unknown)[:100]))
    shape = [len(scores), model.classes] if model.classes else [len(scores)]
    output: dict[str, Any] = {"name": name, "datatype": "FP64", "shape": shape}
    chosen = form.outputs.get(name) if form.outputs is not None else None
    binary = b""
    if form.binary if chosen is None else chosen:
        binary = pack_doubles(scores)
        output["parameters"] = {"binary_data_size": len(binary)}
    else:
        rows: list[Any] = scores
        output["data"] = list(chain.from_iterable(rows)) if model.classes else rows
    content: dict[str, Any] = {
        "model_name": model.identity.name,
        "model_version": str(model.identity.version),
        "outputs": [output],
    }
    if form.request_id is not None:
        content["id"] = form.request_id
    text_part = orjson.dumps(content)
    if not binary:
        return Answer(text_part, [JSON])
    return Answer(text_part + binary, [OCTETS, (HEADER, b"%d" % len(text_part))])


def describe(model: OnnxModel, versions: Versions = NO_VERSIONS) -> dict[str, Any]:
    """The tensors that a model takes and gives, and which of its versions may be asked."""
    loaded = list(versions.values()) or [model]
    return {
        "name": model.identity.name,
        "versions": [str(version.identity.version) for version in loaded],
        "platform": "onnxruntime_onnx",
        "inputs": [
            {"name": name, "datatype": DATATYPES[kind], "shape": [-1]}
            for name, kind in model.schema.types.items()
        ],
        "outputs": [
            {
                "name": model.signature.output,
                "datatype": "FP64",
                "shape": [-1, model.classes] if model.classes else [-1],
            }
        ],
        **label_facts(versions),
        **task_facts(model),
    }


def describe_server() -> dict[str, Any]:
    """Who answers, and which extensions of the protocol it knows."""
    return {"name": "ferryman", "version": __version__, "extensions": [EXTENSION]}


def _request_id(content: Mapping[str, Any]) -> str | None:
    given = content.get("id")
    if given is None:
        return None
    if not isinstance(given, str):
        raise RowError("must be text", field="id")
    if len(given) > MAX_TEXT:
        raise RowError(f"longer than {MAX_TEXT} characters", field="id")
    return given


def _requested(content: Mapping[str, Any]) -> Mapping[str, bool | None] | None:
    """The outputs asked for, each as bytes or not; None where the request leaves it open."""
    outputs = content.get("outputs")
    if outputs is None or outputs == []:
        return None
    if not isinstance(outputs, list):
        raise RowError("must be a list of objects with a name", field="outputs")
    requested: dict[str, bool | None] = {}
    for output in outputs:
        name = output.get("name") if isinstance(output, dict) else None
        if not isinstance(name, str) or output.keys() - {"name", "parameters"}:
            raise RowError("must be a list of objects with a name", field="outputs")
        if name in requested:
            raise RowError("two outputs have this name", field=name[:100])
        parameters = parameters_of(output, name)
        refused = sorted(parameters.keys() & {"classification", "shared_memory_region"})
        if refused:
            raise RowError(f"this server has no {refused[0]!r} extension", field=name[:100])
        requested[name] = _flag(parameters, "binary_data")
    return requested


def _flag(parameters: Mapping[str, Any], name: str) -> bool | None:
    given = parameters.get(name)
    if given is not None and not isinstance(given, bool):
        raise RowError("must be true or false", field=name)
    return given
