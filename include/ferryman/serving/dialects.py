"""The request forms by dialect: how rows are read from each, and answered."""

from collections.abc import Mapping
from typing import Protocol

from ferryman.serving import open_inference, tensorflow_rest
from ferryman.serving.onnx_model import OnnxModel, Scores
from ferryman.serving.requests import Answer, Asked, Request
from ferryman.serving.routes import Dialect
from ferryman.serving.rows import RowSchema


class _DialectModule(Protocol):
    """A dialect is a module of these two functions."""

    def read(self, request: Request, schema: RowSchema) -> Asked: ...

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
    return _DIALECTS[request.route.dialect].read(request, schema)


def answer(request: Request, asked: Asked, model: OnnxModel, scores: Scores) -> Answer:
    """The scores of a request's rows, in the form that was asked for."""
    return _DIALECTS[request.route.dialect].answer(request, asked, model, scores)
