"""The prediction port: plain ASGI, because a framework costs more than the model does.

Every answer carries x-request-id; one of a loaded model also x-model-version and x-model-epoch.
"""

import asyncio
import logging
import re
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any, NamedTuple

from ferryman.serving.answering.gathering import MOST_ROWS, Gathering
from ferryman.serving.answering.metrics import UNKNOWN, ServingMetrics
from ferryman.serving.log.writer import Entry, PredictionLog
from ferryman.serving.models.onnx_model import OnnxModel, Scores
from ferryman.serving.models.rows import RowError, Rows
from ferryman.serving.models.served_models import ServedModels
from ferryman.serving.protocols import dialects
from ferryman.serving.protocols.answers import (
    Headers,
    Message,
    Receive,
    Refusal,
    Send,
    bad_row,
    send_answer,
    send_json,
    send_text,
    write_answer,
)
from ferryman.serving.protocols.bodies import BodyReader
from ferryman.serving.protocols.request_heads import json_length, read_headers, route_at_once
from ferryman.serving.protocols.requests import Answer, Asked, Request
from ferryman.serving.protocols.routes import Route, find_route

MAX_BODY = 8 * 1024 * 1024
_INLINE_BODY = 64 * 1024
_BODY_SECONDS = 30.0
_REQUEST_ID = re.compile(rb"[A-Za-z0-9_.-]{1,64}")

logger = logging.getLogger(__name__)

# The whole /metrics page, of all replicas and the front.
Page = Callable[[], Awaitable[bytes]]


class _Call(NamedTuple):
    """A prediction that was read and can be scored."""

    given: Mapping[bytes, bytes]
    request: Request
    asked: Asked
    model: OnnxModel
    started: float


class PredictionApp:
    """Answers predictions, states and metrics from the served models.

    `page` gives the whole page of metrics; without it the page is this replica's own. `threads` is
    how many large requests are worked on at once, beside the loop.
    """

    def __init__(
        self,
        served: ServedModels,
        log: PredictionLog,
        metrics: ServingMetrics,
        page: Page | None = None,
        threads: int = 1,
    ) -> None:
        self._served = served
        self._log = log
        self._metrics = metrics
        self._page = page
        self._prefix = secrets.token_hex(8).encode()
        self._numbers = count(1)
        self._bodies = BodyReader(MAX_BODY, _BODY_SECONDS)
        self._gathering = Gathering(metrics)
        # Large batches are scored beside the loop, so that one row does not wait for thousands.
        self._pool = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="score")
        metrics.models = lambda: served.loaded

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """One request (ASGI)."""
        if scope["type"] != "http":
            return
        started = self._gathering.turn_began()
        metrics = self._metrics
        metrics.in_flight += 1
        given = read_headers(scope["headers"])
        request_id = self._request_id(given)
        headers: Headers = [(b"x-request-id", request_id)]
        route = find_route(scope["path"])
        label, name = UNKNOWN, _name(route)
        try:
            model = self._find(route)
            if model is not None:
                label = route.model
                headers += model.headers
            if route.kind == "predict" and model is not None and scope["method"] == "POST":
                body = await self._bodies.read(receive)
                request = Request(route, body, json_length(given, len(body)))
                answer, rows, scores = await self._predict(request, model)
                self._remember(request_id, model, request, rows, scores, started)
                await send_answer(send, answer, headers)
                return
            if route.kind == "metrics" and scope["method"] in ("GET", "HEAD"):
                await send_text(send, await self._metrics_page())
                return
            status, content = 200, self._state(route, scope["method"], model)
        except RowError as error:
            refusal = bad_row(error)
            status, content = refusal.status, refusal.content
        except Refusal as refusal:
            status, content = refusal.status, refusal.content
            headers += refusal.headers
        except Exception:
            logger.exception("request %s failed", request_id.decode())
            status, content = 500, {"error": "internal error"}
        finally:
            metrics.in_flight -= 1
        metrics.count(label, name, status, time.perf_counter() - started)
        await send_json(send, status, content, headers)

    def answer_at_once(
        self,
        url: bytes,
        headers: Sequence[tuple[bytes, bytes]],
        body: bytes,
        clients: int,
        later: Callable[[bytes | None], None],
    ) -> bytes | Callable[[], None] | None:
        """The HTTP/1.1 answer to a good, small, whole prediction; None for every other request.

        `clients` is how many connections are open. Where several may share a run, `later` gets the
        answer at the end of the event loop's turn, or as soon as what is returned is called.

        The same as `__call__` sends, without what ASGI costs; what is refused is refused there.
        """
        route = route_at_once(url)
        if route is None or len(body) > _INLINE_BODY:
            return None
        started = self._gathering.turn_began()
        model = self._served.get(route.model, route.version, route.label)
        if model is None:
            return None
        try:
            given = read_headers(headers)
            request = Request(route, body, json_length(given, len(body)))
            asked = dialects.read(request, model.schema)
            call = _Call(given, request, asked, model, started)
            size = asked.rows.size
            if model.pace.is_long(size):
                return None
            feed = model.schema.feed(asked.rows)
            if model.pace.gathers and clients > 1 and size <= MOST_ROWS:
                self._gathering.add(model, feed, size, lambda found: later(self._end(call, found)))
                return self._gathering.run_all
            return self._finish(call, self._run(model, feed, size))
        except Exception as error:  # noqa: BLE001 - told
            _tell_what_nobody_expects(error)
            return None

    def _end(self, call: _Call, found: Scores | Exception) -> bytes | None:
        """The answer's bytes after a common run; None where it is for `__call__` to refuse."""
        try:
            return None if isinstance(found, Exception) else self._finish(call, found)
        except Exception as error:  # noqa: BLE001 - told
            _tell_what_nobody_expects(error)
            return None

    def _finish(self, call: _Call, scores: Scores) -> bytes:
        """The answer's bytes, counted and logged; Refusal where there is none."""
        given, request, asked, model, started = call
        answer = dialects.answer(request, asked, model, scores)
        request_id = self._request_id(given)
        written = write_answer(answer, [(b"x-request-id", request_id), *model.headers])
        self._remember(request_id, model, request, asked.rows, scores, started)
        return written

    def close(self) -> None:
        """End the scoring threads."""
        self._pool.shutdown(wait=True)

    async def _predict(self, request: Request, model: OnnxModel) -> tuple[Answer, Rows, Scores]:
        """The answer to a request, the usual small and lone one without leaving this function."""
        if len(request.body) > _INLINE_BODY:
            return await self._predict_large(request, model)
        asked = dialects.read(request, model.schema)
        size = asked.rows.size
        feed = model.schema.feed(asked.rows)
        if model.pace.is_long(size):
            scores = await self._run_beside(model, feed, size)
        elif model.pace.gathers and size <= MOST_ROWS:
            scores = await self._gathering.score(model, feed, size)
        else:
            scores = self._run(model, feed, size)
        return dialects.answer(request, asked, model, scores), asked.rows, scores

    def _run(self, model: OnnxModel, feed: Mapping[str, Any], size: int) -> Scores:
        scores = model.run(feed, size)
        self._metrics.ran(model.identity.name, size)
        return scores

    def _remember(  # noqa: PLR0913, PLR0917  - all that is told of one answer
        self,
        request_id: bytes,
        model: OnnxModel,
        request: Request,
        rows: Rows,
        scores: Scores,
        started: float,
    ) -> None:
        """Count an answered request, and log it."""
        seconds = time.perf_counter() - started
        name = model.identity.name
        self._metrics.scored(name, len(scores))
        self._metrics.count(name, _name(request.route), 200, seconds)
        checked, given, size = rows.checked, rows.given, len(request.body)
        entry = Entry(request_id, model, checked, given, scores, time.time(), seconds, size=size)
        self._log.put(entry)

    async def _predict_large(
        self, request: Request, model: OnnxModel
    ) -> tuple[Answer, Rows, Scores]:
        asked, feed = await self._beside(_read, request, model)
        scores = await self._run_beside(model, feed, asked.rows.size)
        answer = await self._beside(dialects.answer, request, asked, model, scores)
        return answer, asked.rows, scores

    async def _run_beside(self, model: OnnxModel, feed: Mapping[str, Any], size: int) -> Scores:
        self._metrics.waiting_rows += size
        try:
            scores: Scores = await self._beside(model.run, feed, size)
        finally:
            self._metrics.waiting_rows -= size
        self._metrics.ran(model.identity.name, size)
        return scores

    async def _beside(self, work: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work, *arguments)

    def _find(self, route: Route) -> OnnxModel | None:
        """The model that a path names; Refusal 404 for a version or label that is not loaded."""
        model = self._served.get(route.model)
        if model is None or (route.version is None and not route.label):
            return model
        found = self._served.get(route.model, route.version, route.label)
        if found is not None:
            return found
        versions = self._served.versions(route.model)
        refusal = Refusal(404, f"model {route.model!r} has no such version")
        there = sorted(loaded.identity.version for loaded in versions.values())
        refusal.content.update(versions=there, labels=list(versions))
        raise refusal

    async def _metrics_page(self) -> bytes:
        return self._metrics.page() if self._page is None else await self._page()

    def _state(self, route: Route, method: str, model: OnnxModel | None) -> Mapping[str, Any]:
        if route.kind == "none":
            raise Refusal(404, "no such path")
        allowed = ("POST",) if route.kind == "predict" else ("GET", "HEAD")
        if method not in allowed:
            allow = (b"allow", ", ".join(allowed).encode())
            raise Refusal(405, "method not allowed", [allow])
        if route.kind == "live":
            return {"live": True}
        if route.kind == "ready":
            return self._readiness()
        if route.kind == "server":
            return dialects.describe_server()
        if model is None:
            if route.model in self._served.remembered:
                raise Refusal(503, f"model {route.model!r} is not loaded")
            raise Refusal(404, "no such model")
        versions = self._served.versions(route.model)
        return dialects.describe(route, model, list(versions.values()))

    def _readiness(self) -> Mapping[str, Any]:
        if self._served.is_ready:
            return {"ready": True, "models": sorted(m.identity.name for m in self._served.loaded)}
        refusal = Refusal(503, "not every model is loaded")
        missing = self._served.remembered.keys() - {m.identity.name for m in self._served.loaded}
        refusal.content.update(loading=not self._served.restored, missing=sorted(missing))
        raise refusal

    def _request_id(self, given: Mapping[bytes, bytes]) -> bytes:
        """The client's own id where it is a plain one, so that its log and ours meet."""
        own = given.get(b"x-request-id")
        if own is not None and _REQUEST_ID.fullmatch(own):
            return own
        return b"%b-%x" % (self._prefix, next(self._numbers))


def _read(request: Request, model: OnnxModel) -> tuple[Asked, Mapping[str, Any]]:
    asked = dialects.read(request, model.schema)
    return asked, model.schema.feed(asked.rows)


def _tell_what_nobody_expects(error: Exception) -> None:
    """The usual way answers the request, and counts it, as every one that fails."""
    if not isinstance(error, RowError | Refusal):
        logger.error("a prediction failed; it is tried once more", exc_info=error)


def _name(route: Route) -> str:
    """The route's name in the metrics, one of a few."""
    return f"{route.dialect}_{route.verb}" if route.kind == "predict" else route.kind
