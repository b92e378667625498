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

from ferryman.serving.answers import (
    Headers,
    Message,
    Receive,
    Refusal,
    Send,
    bad_row,
    read_body,
    read_json_object,
    send_json,
    send_text,
)
from ferryman.serving.dialects import (
    Dialect,
    answer_v1,
    answer_v2,
    metadata_v2,
    read_v1,
    read_v2,
    status_v1,
)
from ferryman.serving.log_writer import Entry, PredictionLog
from ferryman.serving.metrics import UNKNOWN, ServingMetrics
from ferryman.serving.onnx_model import OnnxModel, Scores
from ferryman.serving.rows import RowError
from ferryman.serving.served_models import ServedModels

MAX_BODY = 8 * 1024 * 1024
_INLINE_BODY = 16 * 1024
_BODY_SECONDS = 30.0
_ROUTES = re.compile(
    r"/v1/models/(?P<v1>[^/:]+):predict"
    r"|/api/v1/models/(?P<api>[^/]+)/predict"
    r"|/v2/models/(?P<v2>[^/]+)/infer"
    r"|/v1/models/(?P<status>[^/:]+)"
    r"|/v2/models/(?P<metadata>[^/]+)"
    r"|/v2/models/(?P<model_ready>[^/]+)/ready"
    r"|(?P<live>/v2/health/live)"
    r"|(?P<ready>/healthz|/v2/health/ready)"
    r"|(?P<metrics>/metrics)"
)
_PREDICT = frozenset({"v1", "api", "v2"})
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
        found = _ROUTES.fullmatch(scope["path"])
        route = (found and found.lastgroup) or "none"
        name = found.group(route) if found else ""
        model = self._served.get(name)
        try:
            if route == "metrics" and scope["method"] == "GET":
                await send_text(send, self._metrics.page())
                return
            if model is not None:
                headers += model.headers
            if route in _PREDICT and model is not None and scope["method"] == "POST":
                content = await self._predict(route, model, request_id, receive)
            else:
                content = self._state(route, scope["method"], name, model)
            status = 200
        except Refusal as refusal:
            status, content = refusal.status, refusal.content
        except Exception:
            logger.exception("request %s failed", request_id.decode())
            status, content = 500, {"error": "internal error"}
        label = UNKNOWN if model is None else name
        self._metrics.count(label, route, status, time.perf_counter() - started)
        await send_json(send, status, content, headers)

    def close(self) -> None:
        """End the scoring threads."""
        self._pool.shutdown(wait=True)

    async def _predict(
        self, route: str, model: OnnxModel, request_id: bytes, receive: Receive
    ) -> Mapping[str, Any]:
        try:
            async with asyncio.timeout(_BODY_SECONDS):
                body = await read_body(receive, MAX_BODY)
        except TimeoutError:
            raise Refusal(408, "the body did not arrive in time") from None
        try:
            if len(body) > _INLINE_BODY:
                loop = asyncio.get_running_loop()
                scored = await loop.run_in_executor(self._pool, _score, route, model, body)
            else:
                scored = _score(route, model, body)
        except RowError as error:
            raise bad_row(error) from error
        answer, scores = scored
        self._metrics.scored(model.identity.name, len(scores))
        dialect: Dialect = "v2" if route == "v2" else "v1"
        self._log.put(Entry(request_id, model, dialect, body, scores, time.time()))
        return answer

    def _state(
        self, route: str, method: str, name: str, model: OnnxModel | None
    ) -> Mapping[str, Any]:
        if route == "none":
            raise Refusal(404, "no such path")
        if method != ("POST" if route in _PREDICT else "GET"):
            raise Refusal(405, "method not allowed")
        if route == "live":
            return {"live": True}
        if route == "ready":
            return self._readiness()
        if model is None:
            if name in self._served.remembered:
                raise Refusal(503, f"model {name!r} is not loaded")
            raise Refusal(404, "no such model")
        if route == "model_ready":
            return {"name": name, "ready": True}
        return status_v1(model) if route == "status" else metadata_v2(model)

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


def _score(route: str, model: OnnxModel, body: bytes) -> tuple[Mapping[str, Any], Scores]:
    content = read_json_object(body)
    if route == "v2":
        scores = model.score(read_v2(content, model.schema))
        return answer_v2(content, model, scores), scores
    scores = model.score(read_v1(content, model.schema))
    return answer_v1(content, scores), scores
