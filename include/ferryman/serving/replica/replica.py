"""A replica: one process, one event loop, that answers predictions on connections it is given."""

import asyncio
import gc
import logging
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ferryman.errors import DependencyUnavailable
from ferryman.runtime.channel_path import shadow_path
from ferryman.runtime.traffic import LONGEST_LEASE, Traffic
from ferryman.serving.answering.metrics import ServingMetrics
from ferryman.serving.answering.mirror import Mirror
from ferryman.serving.answering.prediction_app import Page, PredictionApp
from ferryman.serving.answering.shares import Shares
from ferryman.serving.labels.label_intake import LabelIntake
from ferryman.serving.labels.label_journal import LabelJournal
from ferryman.serving.log.writer import SPOOL_BYTES, PredictionLog
from ferryman.serving.models.served_models import ServedModels
from ferryman.serving.models.served_pointers import Pointer
from ferryman.serving.replica.front_link import FrontLink, connect_path
from ferryman.serving.shadow.unix_mirror import UnixMirror
from ferryman.serving.sockets.channel import Message
from ferryman.serving.sockets.file_limit import raise_file_limit
from ferryman.serving.sockets.handed_connections import Connections

_GRACE_SECONDS = 35.0  # longer than the body of a request may take to arrive
_EXPIRY_SECONDS = 0.1  # after the end of a lease its candidate is let go of
# Without a front, nobody can take a share back: it goes on for as long as whoever holds it needs to
# find the next front (looks come every 10 s), not for all of its lease.
_ORPHANED_SECONDS = 15.0
_OF_SHARES = frozenset({"prepare_share", "discard_share", "expose", "withdraw", "figures"})

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ReplicaOptions:
    """What the command line says."""

    root: Path
    predictions: Path
    name: str
    threads: int = 1
    public_key: Path | None = None
    upload: bool = False
    label_digest: str = ""


class Answering:
    """What every replica is made of, whoever gives it its connections.

    `mirror` makes what copies requests to a model's shadow, where there may be one.
    """

    def __init__(
        self, options: ReplicaOptions, mirror: Callable[[str], Mirror] | None = None
    ) -> None:
        raise_file_limit()
        self._threads = options.threads
        self.metrics = ServingMetrics(options.name)
        self.served = ServedModels(
            options.root, public_key=options.public_key, threads=options.threads
        )
        self.served.recall()
        self.shares = Shares(self.served, mirror, seed=options.name)
        journal = LabelJournal(options.predictions, options.name)
        self.labels = LabelIntake(journal, options.root, options.label_digest)
        self.log = PredictionLog(
            options.predictions,
            self.metrics.dropped,
            replica=options.name,
            upload=options.upload,
            spool_bytes=_spool_bytes() if options.upload else SPOOL_BYTES,
            beside=journal.roll,
        )
        self.metrics.log_queue = lambda: self.log.queued

    async def load(self) -> None:
        """Load what is remembered, and begin to log."""
        self.log.start()
        await asyncio.to_thread(self.served.restore)
        # What is alive now stays: the collector need not look at it again with every thousandth
        # request, and requests make no cycles of their own.
        gc.collect()
        gc.freeze()
        gc.set_threshold(10_000, 10, 10)

    def app(self, page: Page | None = None) -> PredictionApp:
        """The application (ASGI); `page` gives the metrics of all replicas."""
        return PredictionApp(
            self.served,
            self.log,
            self.metrics,
            page,
            self._threads,
            shares=self.shares,
            labels=self.labels,
        )

    async def answer_begun(self, connections: Connections) -> None:
        """Wait until every connection is gone; cut what has not ended within the grace."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _GRACE_SECONDS
        while connections.count or connections.state.tasks:
            if loop.time() > deadline:
                logger.warning("cutting %d connections", connections.count)
                connections.cut()
                await asyncio.sleep(0.1)
                return
            await asyncio.sleep(0.002)


class Replica:
    """A replica that a front gives connections to."""

    def __init__(self, options: ReplicaOptions, channel: Path) -> None:
        self._name = options.name
        self._parts = Answering(
            options, mirror=lambda model: UnixMirror(shadow_path(channel, model))
        )
        self._app = self._parts.app(self._page)
        self._connections = Connections(self._app, self._count_changed)
        self._leave = asyncio.Event()
        self._link = FrontLink(
            connect_path(channel),
            self._connections,
            self._state,
            self._handle,
            self._leave.set,
        )
        self._link.on_orphaned = self._shorten_shares

    async def run(self) -> None:
        """Answer until told to end; then finish what is begun, and the prediction log."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._link.tell_leaving)
        await self._link.join()
        await self._parts.load()
        self._link.tell_ready()
        await self._leave.wait()
        self._connections.leave()
        await self._parts.answer_begun(self._connections)
        await asyncio.to_thread(self._parts.log.close)
        await self._link.close()
        self._app.close()

    def _count_changed(self) -> None:
        self._link.tell_count()

    def _shorten_shares(self) -> None:
        """The front is gone: a share is given again by the next one, or ends soon."""
        shares, loop = self._parts.shares, asyncio.get_running_loop()
        shares.shorten(time.monotonic() + _ORPHANED_SECONDS)
        loop.call_later(_ORPHANED_SECONDS + _EXPIRY_SECONDS, shares.end_expired)

    async def _page(self) -> bytes:
        """The page of all replicas, or this one's own while there is no front."""
        return await self._link.page() or await self._parts.metrics.written_page()

    def _state(self) -> Message:
        served = self._parts.served
        return {
            "name": self._name,
            "ready": served.restored,
            "served": {model.identity.name: model.identity.epoch for model in served.loaded},
            "problems": served.problems,
        }

    async def _handle(self, message: Message) -> Any:
        served, kind = self._parts.served, message["kind"]
        if kind == "ping":
            return True
        if kind == "metrics":
            return (await self._parts.metrics.written_page()).decode()
        if kind == "flush":
            if not await asyncio.to_thread(self._parts.log.flush):
                why = self._parts.log.problem or "it takes too long"
                raise DependencyUnavailable(f"the prediction log did not flush: {why}")
            return True
        if kind in _OF_SHARES:
            return await self._handle_share(message)
        name = message["model"]
        if kind == "discard":
            served.discard(name)
        else:
            pointer = Pointer.model_validate(message["pointer"])
            if kind == "prepare":
                await asyncio.to_thread(served.prepare, name, pointer)
            else:
                served.swap(name, pointer)
                self._parts.shares.end(name)
        return True

    async def _handle_share(self, message: Message) -> Any:
        """What the front says of a candidate; whether it is followed, or what it asks for."""
        shares, kind, name = self._parts.shares, message["kind"], message["model"]
        if kind == "figures":
            share = shares.live(name)
            return None if share is None else share.figures()
        if kind == "withdraw":
            shares.end(name)
        elif kind == "discard_share":
            shares.discard(name)
        else:
            traffic, loop = Traffic.model_validate(message["traffic"]), asyncio.get_running_loop()
            if kind == "prepare_share":
                loop.call_later(LONGEST_LEASE + _EXPIRY_SECONDS, shares.end_expired)
                await asyncio.to_thread(shares.prepare, name, traffic)
            else:
                until: float = message["until"]
                left = max(until - time.monotonic(), 0.0) + _EXPIRY_SECONDS
                loop.call_later(left, shares.end_expired)
                return shares.expose(name, traffic, until)
        return True


def _spool_bytes() -> int:
    """How much of the prediction log may wait here while its place is away."""
    from ferryman.settings import load_settings

    return load_settings().predictions_spool_mb << 20


def run_replica(options: ReplicaOptions, channel: Path) -> None:
    """Run one replica until it is told to end; DependencyUnavailable (exit 6) without a front."""
    import uvloop

    async def live() -> None:
        await Replica(options, channel).run()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(live())
