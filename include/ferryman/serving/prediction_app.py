"""The prediction port: plain ASGI, because a framework costs more than the model does.

Every answer carries x-request-id; one of a loaded model also x-model-version and x-model-epoch.
"""

import asyncio
import logging
import re
import secrets
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any

from ferryman.serving import dialects, open_inference, tensorflow_rest
from ferryman.serving.answers import (
    Headers,
    Message,
    Receive,
    Refusal,
    Send,
    bad_row,
    read_body,
    send_answer,
    send_json,
    send_text,
)
from ferryman.serving.log_writer import Entry, PredictionLog
from ferryman.serving.metrics import UNKNOWN, ServingMetrics
from ferryman.serving.onnx_model import OnnxModel, Scores
from ferryman.serving.requests import Answer, Request
from ferryman.serving.routes import Route, find_route
from ferryman.serving.rows import RowError
from ferryman.serving.served_models import ServedModels

MAX_BODY = 8 * 1024 * 1024
_INLINE_BODY = 16 * 1024
_BODY_SECONDS = 30.0
_REQUEST_ID = re.compile(rb"[A-Za-z0-9_.-]{1,64}")

logger = logging.getLogger(__name__)


class PredictionApp:
    """Answers predictions, states and metrics from the served models."""

    def __init__(self, served: ServedModels, log: PredictionLog, metrics: ServingMetrics) -> None:
        self._served = served
        self._log = log
        self._metrics = metrics
        self._prefix = secrets.token_hex(8).encode()
        self._numbers = count(1)
        # Large batches are scored beside the loop, so that one row does not wait for thousands.
        self._pool = ThreadPoolExecutor(max_workers=2, thread_name_prefix="score")

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """One request (ASGI)."""
        if scope["type"] != "http":
            return
        started = time.perf_counter()
        request_id = self._request_id(scope)
        headers: Headers = [(b"x-request-id", request_id)]
        route = find_route(scope["path"])
        model = self._served.get(route.model)
        label = UNKNOWN if model is None else route.model
        if model is not None:
            headers += model.headers
        try:
            if route.kind == "metrics" and scope["method"] == "GET":
                await send_text(send, self._metrics.page())
                return
            if route.kind == "predict" and model is not None and scope["method"] == "POST":
                answer = await self._predict(route, model, request_id, scope, receive)
                self._metrics.count(label, _name(route), 200, time.perf_counter() - started)
                await send_answer(send, answer, headers)
                return
            status, content = 200, self._state(route, scope["method"], model)
        except Refusal as refusal:
            status, content = refusal.status, refusal.content
        except Exception:
            logger.exception("request %s failed", request_id.decode())
            status, content = 500, {"error": "internal error"}
        self._metrics.count(label, _name(route), status, time.perf_counter() - started)
        await send_json(send, status, content, headers)

    def close(self) -> None:
        """End the scoring threads."""
        self._pool.shutdown(wait=True)

    async def _predict(
        self, route: Route, model: OnnxModel, request_id: bytes, scope: Message, receive: Receive
    ) -> Answer:
        try:
            async with asyncio.timeout(_BODY_SECONDS):
                body = await read_body(receive, MAX_BODY)
        except TimeoutError:
            raise Refusal(408, "the body did not arrive in time") from None
        request = Request(route, body, _json_length(scope, len(body)))
        try:
            if len(body) > _INLINE_BODY:
                loop = asyncio.get_running_loop()
                scored = await loop.run_in_executor(self._pool, _score, request, model)
            else:
                scored = _score(request, model)
        except RowError as error:
            raise bad_row(error) from error
        answer, scores = scored
        self._metrics.scored(model.identity.name, len(scores))
        self._log.put(Entry(request_id, model, request, scores, time.time()))
        return answer

    def _state(self, route: Route, method: str, model: OnnxModel | None) -> Mapping[str, Any]:
        if route.kind == "none":
            raise Refusal(404, "no such path")
        if method != ("POST" if route.kind == "predict" else "GET"):
            raise Refusal(405, "method not allowed")
        if route.kind == "live":
            return {"live": True}
        if route.kind == "ready":
            return self._readiness()
        if model is None:
            if route.model in self._served.remembered:
                raise Refusal(503, f"model {route.model!r} is not loaded")
            raise Refusal(404, "no such model")
        if route.kind == "model_ready":
            return {"name": route.model, "ready": True}
        if route.kind == "status":
            return tensorflow_rest.describe(model)
        return open_inference.describe(model)

    def _readiness(self) -> Mapping[str, Any]:
        if self._served.is_ready:
            return {"ready": True, "models": sorted(m.identity.name for m in self._served.loaded)}
        refusal = Refusal(503, "not every model is loaded")
        missing = self._served.remembered.keys() - {m.identity.name for m in self._served.loaded}
        refusal.content.update(loading=not self._served.restored, missing=sorted(missing))
        raise refusal

    def _request_id(self, scope: Message) -> bytes:
        """The client's own id where it is a plain one, so that its log and ours meet."""
        for key, value in scope["headers"]:
            if key == b"x-request-id" and _REQUEST_ID.fullmatch(value):
                given: bytes = value
                return given
        return b"%b-%x" % (self._prefix, next(self._numbers))


def _score(request: Request, model: OnnxModel) -> tuple[Answer, Scores]:
    asked = dialects.read(request, model.schema)
    scores = model.score(asked.rows)
    return dialects.answer(request, asked, model, scores), scores


def _name(route: Route) -> str:
    """The route's name in the metrics, one of a few."""
    return f"{route.dialect}_{route.verb}" if route.kind == "predict" else route.kind


def _json_length(scope: Message, size: int) -> int | None:
    """Where the JSON of a body with binary tensors ends; Refusal 400 for a senseless one."""
    for key, value in scope["headers"]:
        if key == b"inference-header-content-length":
            if not value.isdigit() or int(value) > size:
                raise Refusal(400, "inference-header-content-length is not a length of this body")
            return int(value)
    return None
