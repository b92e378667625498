"""Requests that are there at the same time are scored in one run, where that is quicker."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ferryman.serving.answering.metrics import ServingMetrics
from ferryman.serving.models.onnx_model import OnnxModel, Scores
from ferryman.serving.models.rows import RowError

# More rows in one run make those that came first wait for those that came last.
_LARGEST = 256
# A request of more rows gains nothing by others: what a run costs by itself is little of it.
MOST_ROWS = 16

# Gets the scores of one request, or why there are none.
Done = Callable[[Scores | Exception], None]

logger = logging.getLogger(__name__)


class _Waiting(NamedTuple):
    feed: Mapping[str, Any]
    size: int
    done: Done


class Gathering:
    """Runs models once for all requests that were read in one turn of the event loop.

    A request is handed in while it is read; the loop reads all others that have come before it
    calls `_end_turn`. So nobody waits for a request that is not there yet.
    """

    def __init__(self, metrics: ServingMetrics) -> None:
        self._metrics = metrics
        self._groups: dict[OnnxModel, list[_Waiting]] = {}
        self._turn = 0.0

    def turn_began(self) -> float:
        """The moment of this turn's first request, on the clock of `time.perf_counter`.

        What is read later in the same turn has waited since then, as its client sees it.
        """
        if not self._turn:
            self._turn = time.perf_counter()
            asyncio.get_running_loop().call_soon(self._end_turn)
        return self._turn

    def add(self, model: OnnxModel, feed: Mapping[str, Any], size: int, done: Done) -> None:
        """Score a request with the others of this turn; `done` is called at its end."""
        self.turn_began()
        self._groups.setdefault(model, []).append(_Waiting(feed, size, done))
        self._metrics.waiting_rows += size

    async def score(self, model: OnnxModel, feed: Mapping[str, Any], size: int) -> Scores:
        """The answers to the rows of one request; RowError as `OnnxModel.run` raises it."""
        scores: asyncio.Future[Scores] = asyncio.get_running_loop().create_future()

        def done(found: Scores | Exception) -> None:
            if scores.done():  # who asked has gone
                return
            if isinstance(found, Exception):
                scores.set_exception(found)
            else:
                scores.set_result(found)

        self.add(model, feed, size, done)
        return await scores

    def run_all(self) -> None:
        """Score all that has been handed in, now."""
        groups, self._groups = self._groups, {}
        for model, group in groups.items():
            start = rows = 0
            for end, waiting in enumerate(group):
                if rows + waiting.size > _LARGEST and end > start:
                    self._run(model, group[start:end], rows)
                    start, rows = end, 0
                rows += waiting.size
            self._run(model, group[start:], rows)

    def _end_turn(self) -> None:
        self._turn = 0.0
        if self._groups:
            self.run_all()

    def _run(self, model: OnnxModel, group: Sequence[_Waiting], rows: int) -> None:
        self._metrics.waiting_rows -= rows
        if len(group) == 1:
            self._run_alone(model, group[0])
            return
        names = group[0].feed
        try:
            feed = {name: np.concatenate([each.feed[name] for each in group]) for name in names}
            scores: list[Any] = model.run(feed, rows)
        except Exception as error:
            if not isinstance(error, RowError):
                logger.exception("a common run of %d requests failed", len(group))
            # One request's rows spoilt the run of all: each gets its own answer.
            for waiting in group:
                self._run_alone(model, waiting)
            return
        self._metrics.ran(model.identity.name, rows)
        start = 0
        for waiting in group:
            _tell(waiting, scores[start : start + waiting.size])
            start += waiting.size

    def _run_alone(self, model: OnnxModel, waiting: _Waiting) -> None:
        self._metrics.ran(model.identity.name, waiting.size)
        try:
            found: Scores | Exception = model.run(waiting.feed, waiting.size)
        except Exception as error:  # noqa: BLE001 - told by who asked
            found = error
        _tell(waiting, found)


def _tell(waiting: _Waiting, found: Scores | Exception) -> None:
    """What goes wrong with one request keeps no other one from its answer."""
    try:
        waiting.done(found)
    except Exception:
        logger.exception("a request could not be answered")
