"""The prediction port: plain ASGI, because a framework costs more than the model does.

Every answer carries x-request-id; one of a loaded model also x-model-version, x-model-epoch and
x-model-variant; one that was drawn x-model-propensity.
"""

import asyncio
import logging
import re
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any

from ferryman.serving.answering.accounts import Accounts, route_name
from ferryman.serving.answering.calls import Call, draw, read
from ferryman.serving.answering.gathering import MOST_ROWS, Gathering
from ferryman.serving.answering.loaded_models import LoadedModels
from ferryman.serving.answering.metrics import UNKNOWN, ServingMetrics
from ferryman.serving.answering.request_errors import RequestErrors
from ferryman.serving.answering.shares import Shares
from ferryman.serving.labels.label_intake import LabelIntake
from ferryman.serving.log.writer import PredictionLog
from ferryman.serving.models.onnx_model import OnnxModel, Scores
from ferryman.serving.models.rows import RowError
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
from ferryman.serving.protocols.request_heads import (
    entity_key,
    json_length,
    read_headers,
    route_at_once,
)
from ferryman.serving.protocols.requests import Answer, Request
from ferryman.serving.protocols.routes import find_route

MAX_BODY = 8 * 1024 * 1024
_INLINE_BODY = 64 * 1024
_BODY_SECONDS = 30.0
_REQUEST_ID = re.compile(rb"[A-Za-z0-9_.-]{1,64}")

logger = logging.getLogger(__name__)

# The whole /metrics page, of all replicas and the front.
Page = Callable[[], Awaitable[bytes]]


class PredictionApp:
    """Answers predictions, states and metrics from the served models.

    `page` gives the whole page of metrics; without it the page is this replica's own. `threads` is
    how many large requests are worked on at once, beside the loop. `shares`: candidates'. `labels`
    takes what is posted; without it nothing is.
    """

    def __init__(  # noqa: PLR0913  - what answers, and what is kept of it
        self,
        served: ServedModels,
        log: PredictionLog,
        metrics: ServingMetrics,
        page: Page | None = None,
        threads: int = 1,
        *,
        shares: Shares | None = None,
        labels: LabelIntake | None = None,
    ) -> None:
        self._served = served
        self._shares = Shares(served) if shares is None else shares
        self._loaded = LoadedModels(served, self._shares)
        self._accounts = Accounts(metrics, log)
        self._metrics = metrics
        self._labels = labels
        self._page = page
        self._prefix = secrets.token_hex(8).encode()
        self._numbers = count(1)
        self._bodies = BodyReader(MAX_BODY, _BODY_SECONDS)
        self._gathering = Gathering(metrics)
        self._errors = RequestErrors()
        # Large batches are scored beside the loop, so that one row does not wait for thousands.
        self._pool = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="score")
        metrics.models = self._loaded.answering
        metrics.variants.weights = lambda: [
            (name, share.traffic.variant, share.traffic.weight)
            for name, share in self._shares.all_live
        ]

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
        label, name = UNKNOWN, route_name(route)
        model = unexpected = None
        try:
            model = self._loaded.find(route)
            if model is not None:
                label = route.model
            if route.kind == "predict" and model is not None and scope["method"] == "POST":
                body = await self._bodies.read(receive)
                request = Request(route, body, json_length(given, len(body)))
                call, answer, scores = await self._predict(
                    request_id, request, model, started, entity_key(given)
                )
                self._accounts.answered(call, scores)
                await send_answer(send, answer, [*headers, *call.headers[0]])
                return
            if route.kind == "labels" and self._labels is not None and scope["method"] == "POST":
                label, content = await self._take_labels(self._labels, scope["headers"], receive)
                status = 200
            elif route.kind == "metrics" and scope["method"] in ("GET", "HEAD"):
                await send_text(send, await self._metrics_page())
                return
            else:
                status, content = 200, self._loaded.tell(route, scope["method"], model)
        except RowError as error:
            refusal = bad_row(error)
            status, content = refusal.status, refusal.content
        except Refusal as refusal:
            status, content = refusal.status, refusal.content
            headers += refusal.headers
        except Exception as error:  # noqa: BLE001 - told below, with the request that it is of
            unexpected = error
            status, content = 500, {"error": "internal error"}
        finally:
            metrics.in_flight -= 1
        variant = "" if model is None else self._loaded.variant(route, model)
        if model is not None:
            headers += model.headers(variant)[0]
        self._errors.tell(
            status,
            str(unexpected or content.get("error", "")),
            request_id=request_id,
            route=name,
            model=model,
            variant=variant,
            error=unexpected,
        )
        metrics.count(label, name, status, time.perf_counter() - started)
        await send_json(send, status, content, headers)

    def answer_at_once(  # noqa: PLR0911  - most of them: the usual way
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
            size = asked.rows.size
            if model.pace.is_long(size):
                return None
            feed = model.schema.feed(asked.rows)
            request_id, entity = self._request_id(given), entity_key(given)
            call = Call(request_id, request, asked, feed, model, started, entity)
            share = self._shares.get(route.model)
            if share is not None or route.version is not None or route.label:
                if share is not None and share.model and share.model.pace.is_long(size):
                    return None  # before anything is drawn: it would be drawn anew
                call = self._drawn(call)
            if call.model.pace.gathers and clients > 1 and size <= MOST_ROWS:
                self._gathering.add(
                    call.model, call.feed, size, lambda found: later(self._end(call, found))
                )
                return self._gathering.run_all
            return self._finish(call)
        except Exception as error:  # noqa: BLE001 - told
            _tell_what_nobody_expects(error)
            return None

    def _end(self, call: Call, found: Scores | Exception) -> bytes | None:
        """The answer's bytes after a common run; None where it is for `__call__` to refuse."""
        try:
            if not isinstance(found, Exception):
                return self._finish(call, found)
            return None if call.otherwise is None else self._finish(_fall_back(call, found))
        except Exception as error:  # noqa: BLE001 - told
            _tell_what_nobody_expects(error)
            return None

    def _finish(self, call: Call, scores: Scores | None = None) -> bytes:
        """The answer's bytes, counted and logged; Refusal where there is none."""
        try:
            if scores is None:
                scores = self._run(call)
            answer = dialects.answer(call.request, call.asked, call.model, scores)
        except Exception as error:
            if call.otherwise is None:
                raise
            return self._finish(_fall_back(call, error))
        written = write_answer(answer, call.request_id, call.headers[1])
        self._accounts.answered(call, scores)
        return written

    def close(self) -> None:
        """End the scoring threads."""
        self._pool.shutdown(wait=True)

    async def _predict(
        self,
        request_id: bytes,
        request: Request,
        model: OnnxModel,
        started: float,
        entity: bytes,
    ) -> tuple[Call, Answer, Scores]:
        """Who answered a request, and what; large ones are read, scored and written in a thread."""
        beside = self._beside if len(request.body) > _INLINE_BODY else _here
        asked, feed = await beside(read, request, model)
        call = Call(request_id, request, asked, feed, model, started, entity)
        call = await beside(self._drawn, call)
        try:
            scores = await self._score(call)
            answer = await beside(dialects.answer, request, call.asked, call.model, scores)
        except Exception as error:
            if call.otherwise is None:
                self._accounts.broken(call, error)
                raise
            call = _fall_back(call, error)
            try:
                scores = await self._score(call)
                answer = await beside(dialects.answer, request, call.asked, call.model, scores)
            except Exception as also:
                self._accounts.broken(call, also)
                raise
        return call, answer, scores

    async def _take_labels(
        self, labels: LabelIntake, headers: Sequence[tuple[bytes, bytes]], receive: Receive
    ) -> tuple[str, Mapping[str, Any]]:
        """The model whose labels came, and what is answered; a stranger's body is not read."""
        labels.check_token(headers)
        body = await self._bodies.read(receive)
        json_length(read_headers(headers), len(body))  # refuses what is packed
        beside = self._beside if len(body) > _INLINE_BODY else _here
        name, content = await labels.take(headers, body, self._loaded.named, beside)
        self._metrics.labelled(name, content["accepted"])
        return name, content

    async def _score(self, call: Call) -> Scores:
        """The usual small and lone request is scored without leaving this function."""
        model, size = call.model, call.size
        if len(call.request.body) > _INLINE_BODY or model.pace.is_long(size):
            return await self._run_beside(model, call.feed, size)
        if model.pace.gathers and size <= MOST_ROWS:
            return await self._gathering.score(model, call.feed, size)
        return self._run(call)

    def _run(self, call: Call) -> Scores:
        scores = call.model.run(call.feed, call.size)
        self._metrics.ran(call.model.identity.name, call.size)
        return scores

    def _drawn(self, call: Call) -> Call:
        """The call of whoever is to answer; a path that names a version is never drawn for."""
        route = call.request.route
        if route.version is not None or route.label:
            return call._replace(variant=self._loaded.variant(route, call.model))
        share = self._shares.live(route.model)
        if share is None or share.traffic.base_epoch != call.model.identity.epoch:
            return call
        return draw(call, share)

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

    async def _metrics_page(self) -> bytes:
        return await (self._page or self._metrics.written_page)()

    def _request_id(self, given: Mapping[bytes, bytes]) -> bytes:
        """The client's own id where it is a plain one, so that its log and ours meet."""
        own = given.get(b"x-request-id")
        if own is not None and _REQUEST_ID.fullmatch(own):
            return own
        return b"%b-%x" % (self._prefix, next(self._numbers))


async def _here(work: Callable[..., Any], *arguments: Any) -> Any:
    return work(*arguments)


def _fall_back(call: Call, error: Exception) -> Call:
    """The champion's call in the place of a candidate's, which failed."""
    if call.share is not None:
        call.share.tell_failure(error)
    otherwise: Call = call.otherwise
    return otherwise


def _tell_what_nobody_expects(error: Exception) -> None:
    """The usual way answers the request, and counts it, as every one that fails."""
    if not isinstance(error, RowError | Refusal):
        logger.error("a prediction failed; it is tried once more", exc_info=error)
