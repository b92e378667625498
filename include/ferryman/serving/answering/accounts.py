"""What is kept of every answer: counts, the prediction log, and what is compared."""

import asyncio
import time

from ferryman.serving.answering.calls import Call
from ferryman.serving.answering.metrics import ServingMetrics
from ferryman.serving.answering.shares import Share
from ferryman.serving.log.writer import Entry, PredictionLog
from ferryman.serving.models.labels import CHAMPION, FALLBACK
from ferryman.serving.models.onnx_model import Scores
from ferryman.serving.models.rows import NoScore, RowError
from ferryman.serving.protocols.answers import Refusal
from ferryman.serving.protocols.routes import Route


class Accounts:
    """Counts answers and logs them. Of the event loop."""

    def __init__(self, metrics: ServingMetrics, log: PredictionLog) -> None:
        self._metrics = metrics
        self._log = log

    def answered(self, call: Call, scores: Scores) -> None:
        """Count an answered request, and log it."""
        model, request, rows = call.model, call.request, call.asked.rows
        seconds = time.perf_counter() - call.started
        name = model.identity.name
        self._metrics.scored(name, len(scores))
        self._metrics.count(name, route_name(request.route), 200, seconds)
        self._metrics.versions.answered(name, model.identity.version, seconds)
        entry = Entry(
            call.request_id,
            model,
            rows.checked,
            rows.given,
            scores,
            time.time(),
            seconds,
            call.variant,
            len(request.body),
            call.propensity,
            call.entity,
        )
        self._log.put(entry)
        if call.share is not None:
            self._compare(call, call.share, scores, seconds)

    def _compare(self, call: Call, share: Share, scores: Scores, seconds: float) -> None:
        """Count for whom a request was drawn; copy it where the candidate is a shadow."""
        name, variants = call.model.identity.name, self._metrics.variants
        if call.variant == FALLBACK:
            share.candidate.failed()
            variants.failed(name, share.traffic.variant)
            if share.model is not None:
                self._metrics.versions.failed(name, share.model.identity.version)
            return
        side = share.champion if call.variant == CHAMPION else share.candidate
        side.answered(seconds, scores)
        variants.answered(name, call.variant, seconds)
        if share.is_shadow and share.takes(call.key):
            # After this turn of the loop: the client has its answer by then.
            asyncio.get_running_loop().call_soon(self._copy, call, share)

    def _copy(self, call: Call, share: Share) -> None:
        request, mirror = call.request, share.mirror
        if mirror is not None and mirror.copy(
            call.request_id, request.route, request.body, request.json_length, call.entity
        ):
            share.copied += 1
        else:
            share.dropped += 1
            self._metrics.variants.dropped(call.model.identity.name)

    def broken(self, call: Call, error: Exception) -> None:
        """What a version answers with a 5xx is its error; the champion's, where it is compared.

        A row that it has no answer to is not compared: where the candidate has none either, nobody
        would count it for the candidate.
        """
        no_score = isinstance(error, NoScore)
        if isinstance(error, RowError | Refusal) and not no_score:
            return
        found = call.model.identity
        self._metrics.versions.failed(found.name, found.version)
        if call.variant == CHAMPION and call.share and not no_score:
            call.share.champion.failed()
            self._metrics.variants.failed(found.name, CHAMPION)


def route_name(route: Route) -> str:
    """The route's name in the metrics, one of a few."""
    return f"{route.dialect}_{route.verb}" if route.kind == "predict" else route.kind
