"""Requests that are there at the same time are scored in one run, where that is quicker."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ferryman.serving.answering.metrics import ServingMetrics
from ferryman.serving.models.onnx_model import OnnxModel, Scores
from ferryman.serving.models.rows import RowError

# More rows in one run make those that came first wait for those that came last.
_LARGEST = 256


class _Waiting(NamedTuple):
    feed: Mapping[str, Any]
    size: int
    scores: asyncio.Future[Scores]


class Gathering:
    """Runs models once for all requests that were read in one turn of the event loop.

    A request is handed in while it is read; the loop reads all others that have come before it
    calls `_run_all`. So nobody waits for a request that is not there yet.
    """

    def __init__(self, metrics: ServingMetrics) -> None:
        self._metrics = metrics
        self._groups: dict[OnnxModel, list[_Waiting]] = {}

    async def score(self, model: OnnxModel, feed: Mapping[str, Any], size: int) -> Scores:
        """The answers to the rows of one request; RowError as `OnnxModel.run` raises it."""
        loop = asyncio.get_running_loop()
        if not self._groups:
            loop.call_soon(self._run_all)
        waiting = _Waiting(feed, size, loop.create_future())
        self._groups.setdefault(model, []).append(waiting)
        self._metrics.waiting_rows += size
        return await waiting.scores

    def _run_all(self) -> None:
        groups, self._groups = self._groups, {}
        for model, group in groups.items():
            start = rows = 0
            for end, waiting in enumerate(group):
                if rows + waiting.size > _LARGEST and end > start:
                    self._run(model, group[start:end], rows)
                    start, rows = end, 0
                rows += waiting.size
            self._run(model, group[start:], rows)

    def _run(self, model: OnnxModel, group: Sequence[_Waiting], rows: int) -> None:
        self._metrics.waiting_rows -= rows
        if len(group) == 1:
            self._run_alone(model, group[0])
            return
        names = group[0].feed
        feed = {name: np.concatenate([waiting.feed[name] for waiting in group]) for name in names}
        try:
            scores: list[Any] = model.run(feed, rows)
        except RowError:
            # One request's rows spoilt the run of all: each gets its own answer.
            for waiting in group:
                self._run_alone(model, waiting)
            return
        self._metrics.ran(model.identity.name, rows)
        start = 0
        for waiting in group:
            if not waiting.scores.done():
                waiting.scores.set_result(scores[start : start + waiting.size])
            start += waiting.size

    def _run_alone(self, model: OnnxModel, waiting: _Waiting) -> None:
        if waiting.scores.done():
            return
        self._metrics.ran(model.identity.name, waiting.size)
        try:
            waiting.scores.set_result(model.run(waiting.feed, waiting.size))
        except RowError as error:
            waiting.scores.set_exception(error)
