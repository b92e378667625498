"""The request forms by dialect: how rows are read and answered in each, and a model is told of."""

from collections.abc import Mapping
from typing import Any, Protocol

from ferryman.serving.models.onnx_model import OnnxModel, Scores
from ferryman.serving.models.rows import RowError, RowSchema
from ferryman.serving.protocols import open_inference, tensorflow_rest
from ferryman.serving.protocols.answers import Refusal
from ferryman.serving.protocols.json_bodies import Load, NotJson, read_json, read_with_infinities
from ferryman.serving.protocols.model_facts import Versions
from ferryman.serving.protocols.requests import Answer, Asked, Request
from ferryman.serving.protocols.routes import Dialect, Route


class _DialectModule(Protocol):
    """A dialect is a module of these two functions."""

    def read(self, request: Request, schema: RowSchema, load: Load) -> Asked: ...

    def answer(
        self, request: Request, asked: Asked, model: OnnxModel, scores: Scores
    ) -> Answer: ...


_DIALECTS: Mapping[Dialect, _DialectModule] = {
    "v1": tensorflow_rest,
    "api": tensorflow_rest,
    "v2": open_inference,
}


def read(request: Request, schema: RowSchema) -> Asked:
    """The rows of a request; Refusal or RowError where it holds none."""
    dialect = _DIALECTS[request.route.dialect]
    try:
        return dialect.read(request, schema, read_json)
    except NotJson:
        _refuse_infinities(dialect, request, schema)
        raise


def answer(request: Request, asked: Asked, model: OnnxModel, scores: Scores) -> Answer:
    """The scores of a request's rows, in the form that was asked; Refusal where there is none."""
    return _DIALECTS[request.route.dialect].answer(request, asked, model, scores)


def describe(route: Route, model: OnnxModel, versions: Versions) -> dict[str, Any]:
    """What a path of kind status, metadata or model_ready tells of the model that it found.

    `versions` are all loaded versions of its name, by label.
    """
    if route.kind == "model_ready":
        return {"name": model.identity.name, "ready": True}
    if route.kind == "status":
        is_one = route.version is not None or bool(route.label)
        return tensorflow_rest.describe(model, versions, is_one=is_one)
    if route.dialect == "v1":
        return tensorflow_rest.describe_signatures(model)
    return open_inference.describe(model, versions)


def describe_server() -> dict[str, Any]:
    """Who answers, and which extensions of the Open Inference Protocol it knows."""
    return open_inference.describe_server()


def _refuse_infinities(dialect: _DialectModule, request: Request, schema: RowSchema) -> None:
    """RowError where what keeps a body from being JSON is a NaN or an infinity in a row of it.

    Python's own client writes them so, and its user wants to know the row.
    """
    try:
        schema.feed(dialect.read(request, schema, read_with_infinities).rows)
    except RowError as error:
        # A name that is no feature's may be what keeps the body from being JSON.
        if error.row is not None and error.field in schema.types:
            raise
    except Refusal:
        return
