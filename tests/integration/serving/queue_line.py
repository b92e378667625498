"""A queue, a server and its workers, as tests of serving from a queue see them."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import redis
from services.redis_server import RedisServer

from ferryman.serving.queueing.queue_metrics import QueueMetrics
from ferryman.serving.queueing.scorer import QueueScorer
from ferryman.serving.queueing.streams import QueueStreams, Topics
from ferryman.serving.queueing.worker import QueueWorker

REQUESTS, ANSWERS = "asked", "told"
GROUP = "ferryman:tiny"
TOPICS = Topics(REQUESTS, ANSWERS, GROUP, claim_after=200, longest=1000)
DEADLINE = 90.0


def wait_for(condition: Callable[[], bool], seconds: float = DEADLINE) -> None:
    """Until a condition holds; what goes on meanwhile may take Redis away."""
    end = time.monotonic() + seconds
    while True:
        with suppress(redis.ConnectionError, redis.ResponseError):  # away; or no such stream yet
            if condition():
                return
        assert time.monotonic() < end, "in vain"
        time.sleep(0.01)


class QueueLine:
    """Sends requests, reads answers, and starts workers as processes."""

    def __init__(self, server: RedisServer, url: str, home: Path) -> None:
        self.redis = server
        self.client = server.client()
        self._url = url
        self._home = home
        self._workers: list[subprocess.Popen[bytes]] = []

    def send(self, name: str, rows: Sequence[Any]) -> None:
        """Ask for rows."""
        self.client.xadd(REQUESTS, {"id": name, "rows": json.dumps(list(rows))})

    def send_all(self, rows: dict[str, Any]) -> None:
        """Ask for many rows at once, one a request."""
        pipe = self.client.pipeline(transaction=False)
        for name, row in rows.items():
            pipe.xadd(REQUESTS, {"id": name, "rows": json.dumps([row])})
        pipe.execute()

    def answers(self) -> list[dict[str, str]]:
        """Every answer, in the order that they were given in."""
        return [fields for _, fields in self.client.xrange(ANSWERS)]

    def answer(self, name: str) -> dict[str, Any]:
        """The one answer to an id, when it is there; its JSON is read."""
        wait_for(lambda: any(fields["id"] == name for fields in self.answers()))
        (found,) = [fields for fields in self.answers() if fields["id"] == name]
        read = ("predictions", "error")
        return {key: json.loads(v) if key in read else v for key, v in found.items()}

    def pending(self) -> int:
        """Requests that were taken and not answered."""
        return int(self.client.xpending(REQUESTS, GROUP)["pending"])

    def start_worker(self, *options: str) -> subprocess.Popen[bytes]:
        """A worker as a process of its own."""
        given = [
            "--model",
            "tiny",
            "--requests",
            REQUESTS,
            "--answers",
            ANSWERS,
            "--url",
            self._url,
        ]
        environment = {
            **os.environ,
            "FERRYMAN_HOME": str(self._home),
            "FERRYMAN_CONNECTION_QUEUE": self.redis.url,
            "OMP_NUM_THREADS": "1",
        }
        with (self._home / "workers.log").open("ab") as log:
            worker = subprocess.Popen(
                [sys.executable, "-m", "ferryman.cli", "serve-queue", *given, *options],
                env=environment,
                stderr=log,
            )
        self._workers.append(worker)
        return worker

    def wait_for_workers(self, count: int) -> None:
        """Until so many have joined."""
        wait_for(lambda: len(self.client.xinfo_consumers(REQUESTS, GROUP)) >= count)

    def log(self) -> str:
        """What the workers said."""
        return (self._home / "workers.log").read_text()

    def end(self) -> None:
        """End every worker that is left."""
        for worker in self._workers:
            if worker.poll() is None:
                worker.send_signal(signal.SIGKILL)
            worker.wait()
        self.client.close()


@contextmanager
def queue_line(server: RedisServer, url: str, home: Path) -> Iterator[QueueLine]:
    """A line whose processes end with the block."""
    home.mkdir(parents=True, exist_ok=True)
    line = QueueLine(server, url, home)
    try:
        yield line
    finally:
        line.end()


@contextmanager
def working(line: QueueLine, url: str, topics: Topics = TOPICS) -> Iterator[QueueWorker]:
    """A worker in a thread of this process."""
    streams = QueueStreams(line.redis.connection, topics, "worker")
    with QueueScorer(url, "tiny") as scorer:
        metrics = QueueMetrics("tiny")
        worker = QueueWorker(streams, scorer, metrics, batch=16, longest=topics.longest)
        thread = threading.Thread(target=worker.run)
        thread.start()
        try:
            yield worker
        finally:
            worker.stop()
            thread.join()
            streams.close()
