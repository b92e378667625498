"""Answers a stream of requests with a model that a server serves: take, score, settle."""

import logging
import secrets
import threading
from collections.abc import Iterator
from itertools import count

from ferryman.errors import DependencyUnavailable
from ferryman.serving.queueing.messages import Answer, Dead, Request, read_message
from ferryman.serving.queueing.queue_metrics import QueueMetrics
from ferryman.serving.queueing.scorer import QueueScorer
from ferryman.serving.queueing.streams import Entries, QueueStreams

logger = logging.getLogger(__name__)

_BLOCK = 500  # milliseconds that a worker waits for messages before it looks around
_LONGEST_PAUSE = 5.0
_FIRST_PAUSE = 0.1


class QueueWorker:
    """One worker. `stop` lets it finish what it has taken, as far as it can.

    `batch` is the number of messages that are taken at once, and scored together; `longest` the
    number of unread answers from which it waits for their readers.
    """

    def __init__(
        self,
        streams: QueueStreams,
        scorer: QueueScorer,
        metrics: QueueMetrics,
        *,
        batch: int,
        longest: int,
    ) -> None:
        self._streams = streams
        self._scorer = scorer
        self._metrics = metrics
        self._batch = batch
        self._longest = longest
        self._ending = threading.Event()

    def stop(self) -> None:
        """End after the messages at hand; safe in a signal handler and from other threads."""
        self._ending.set()

    def run(self) -> None:
        """Work until `stop`. SpecError and PolicyRefused end it; what is away is waited for."""
        pauses = _pauses()
        has_met_trouble = True
        while not self._ending.is_set():
            try:
                if has_met_trouble:  # also at the start: an answer may have been lost on its way
                    self._streams.prepare()
                    self._answer(self._streams.mine(self._batch))
                    has_met_trouble = False
                self._turn()
                pauses = _pauses()
            except DependencyUnavailable as error:
                has_met_trouble = True
                pause = next(pauses)
                self._metrics.waited()
                logger.warning("%s; again in %.1f s", error.text, pause)
                self._ending.wait(pause)
        try:
            self._streams.leave()
        except DependencyUnavailable as error:
            logger.warning("%s; other workers take over what is left", error.text)

    def _turn(self) -> None:
        """One look at the queue: what others left, then what is new."""
        if self._is_full():
            self._ending.wait(_BLOCK / 1000)
            return
        self._metrics.waiting(self._streams.waiting())
        self._answer(self._streams.claim(self._batch))
        if not self._ending.is_set():
            self._answer(self._streams.take(self._batch, _BLOCK))

    def _is_full(self) -> bool:
        """Whether the readers of the answers are so far behind that more would push some out."""
        # Half, since other workers add their batches at the same time.
        unread = self._streams.unread()
        is_full = unread > self._longest // 2
        if is_full:
            logger.warning("%d answers are unread: waiting for their readers", unread)
        return is_full

    def _answer(self, entries: Entries) -> None:
        """Settle every message of a batch. What fails stays pending, and is asked again."""
        requests: list[Request] = []
        settled: list[Answer | Dead] = []
        for entry, fields in entries:
            message = read_message(entry, fields)
            if isinstance(message, Request):
                requests.append(message)
            else:
                settled.append(message)
        self._settle(settled)
        for answers in self._scorer.score(requests):
            self._settle(answers)

    def _settle(self, results: "list[Answer] | list[Answer | Dead]") -> None:
        if not results:
            return
        for result, outcome in zip(results, self._streams.settle(results), strict=True):
            if isinstance(result, Dead):
                logger.error("message %s is a dead letter: %s", result.entry, result.reason)
                self._metrics.settled("dead")
            elif outcome != "answered":
                self._metrics.settled(outcome)
            else:
                self._metrics.settled("error" if result.is_error else "answered")


def _pauses() -> Iterator[float]:
    """Longer and longer pauses, up to some seconds, that workers do not make at the same time."""
    chance = secrets.SystemRandom()
    for turn in count():
        longest = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** min(turn, 10))
        yield longest * chance.uniform(0.5, 1.0)
