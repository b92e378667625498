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

_GATHER_SECONDS = 0.01
_MOST_GATHERED = 64  # their bodies are in memory until they are sent


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
            self._keep_copy(call, share)

    def _keep_copy(self, call: Call, share: Share) -> None:
        asked = call.request
        waiting = share.copies.add(
            call.request_id, asked.route, asked.body, asked.json_length, call.entity
        )
        name = call.model.identity.name
        if waiting == 1:
            asyncio.get_running_loop().call_later(_GATHER_SECONDS, self._copy, share, name)
        elif waiting >= _MOST_GATHERED:
            self._copy(share, name)

    def _copy(self, share: Share, name: str) -> None:
        for _ in range(share.copies.send()):
            self._metrics.variants.dropped(name)

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
