"""A shadow: a process that scores copies of a model's requests with a candidate.

It answers nobody. What it scored is logged under the same request ids, and counted. It lasts as
long as its lease and its front.
"""

import asyncio
import logging
import os
import signal
import socket
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import orjson

from ferryman.errors import DependencyUnavailable
from ferryman.runtime.log_masks import without_values
from ferryman.runtime.parent_death import end_with_parent
from ferryman.runtime.traffic import Traffic
from ferryman.serving.answering.metrics import model_infos
from ferryman.serving.answering.tally import Tally
from ferryman.serving.answering.variant_counts import VariantCounts
from ferryman.serving.log.finish import Result
from ferryman.serving.log.journal import JOURNALS
from ferryman.serving.log.writer import Entry, PredictionLog
from ferryman.serving.models.memory_limit import limited_memory
from ferryman.serving.models.model_copies import ModelCopies
from ferryman.serving.models.onnx_model import Identity, OnnxModel, open_verified
from ferryman.serving.models.rows import RowError
from ferryman.serving.protocols import dialects
from ferryman.serving.protocols.answers import Refusal
from ferryman.serving.shadow.request_copies import LARGEST_PACKET, LONGEST_HEAD, unpack
from ferryman.serving.sockets.channel import Channel, Message, told_error
from ferryman.serving.sockets.listening import Accepting

SHADOW = "shadow"
_NICE = 15
# Of copies that one replica sent, before others, and the front, have their turn.
_BATCH_SECONDS = 0.02
_DRAIN_SECONDS = 2.0  # at the end, for what was sent before
_LOOK_SECONDS = 0.2
_ONE_DESCRIPTOR = socket.CMSG_SPACE(4)
_CLOEXEC: int = getattr(socket, "MSG_CMSG_CLOEXEC", 0)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ShadowOptions:
    """What the command line says. `tie` is the descriptor of the channel to the front."""

    root: Path
    predictions: Path
    identity: Identity
    path: Path
    tie: int
    parent: int
    threads: int = 1
    memory: int = 0
    public_key: Path | None = None


class Shadow:
    """Scores what it is sent, and tells its front what came of it."""

    def __init__(self, model: OnnxModel, log: PredictionLog, tie: socket.socket) -> None:
        self._name = model.identity.name
        self._model = model
        self._log = log
        self._tally = Tally("")
        self._stage: tuple[str, int] | None = None
        self._until = float("inf")  # its front tells it at once
        self._ending = asyncio.Event()
        self._buffer = bytearray(LARGEST_PACKET + LONGEST_HEAD)
        self._connections: set[socket.socket] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._failures = 0
        self._counts = VariantCounts()
        self._channel = Channel(tie, self._hear, self.end)

    async def run(self, listener: socket.socket) -> None:
        """Score until told to end, or the lease runs out."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.end)
        accepting = Accepting(listener, self._take)
        self._channel.send({"kind": "ready"})
        while not self._ending.is_set() and time.monotonic() < self._until:
            try:
                async with asyncio.timeout(_LOOK_SECONDS):
                    await self._ending.wait()
            except TimeoutError:
                continue
        accepting.stop()
        drained = time.monotonic() + _DRAIN_SECONDS
        for connection in list(self._connections):
            while self._read_one(connection) and time.monotonic() < drained:
                pass
            self._drop(connection)
        await asyncio.to_thread(self._log.close)
        self._channel.close()

    def end(self) -> None:
        """Take nothing more, finish the log, and end."""
        self._ending.set()

    def _hear(self, message: Message, descriptor: int | None) -> None:
        """What the front says or asks."""
        if descriptor is not None:
            os.close(descriptor)
        kind = message["kind"]
        if kind == "follow":
            traffic = Traffic.model_validate(message["traffic"])
            self._until = message["until"]
            stage = (traffic.op, traffic.stage)
            if stage != self._stage:
                self._stage, self._tally = stage, Tally(f"{SHADOW} {stage}")
        elif kind == "figures":
            self._channel.answer(message, {"stage": self._stage, **self._tally.as_json()})
        elif kind == "metrics":
            self._channel.answer(message, _page(self._counts, self._model))
        elif kind == "flush":
            task = asyncio.get_running_loop().create_task(self._flush(message))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        elif kind == "end":
            self.end()

    async def _flush(self, message: Message) -> None:
        if await asyncio.to_thread(self._log.flush):
            self._channel.answer(message, value=True)
        else:
            why = self._log.problem or "it takes too long"
            self._channel.refuse(
                message, DependencyUnavailable(f"a shadow's log did not flush: {why}")
            )

    def _take(self, connected: socket.socket) -> None:
        connected.setblocking(False)
        self._connections.add(connected)
        asyncio.get_running_loop().add_reader(connected.fileno(), self._read, connected)

    def _drop(self, connection: socket.socket) -> None:
        if connection in self._connections:
            asyncio.get_running_loop().remove_reader(connection.fileno())
            self._connections.discard(connection)
            connection.close()

    def _read(self, connection: socket.socket) -> None:
        until = time.monotonic() + _BATCH_SECONDS
        while self._read_one(connection) and time.monotonic() < until:
            pass

    def _read_one(self, connection: socket.socket) -> bool:
        """Score the next copy that a replica sent; whether there was one."""
        try:
            size, told, _, _ = connection.recvmsg_into([self._buffer], _ONE_DESCRIPTOR, _CLOEXEC)
        except BlockingIOError:
            return False
        except OSError:
            size, told = 0, []
        if not size:
            self._drop(connection)
            return False
        descriptor = int.from_bytes(told[0][2][:4], sys.byteorder) if told else None
        self._score(bytes(memoryview(self._buffer)[:size]), descriptor)
        return True

    def _score(self, packet: bytes, descriptor: int | None) -> None:
        """Score one copy; whatever keeps it from a score is an error of the candidate's.

        The champion has answered it: it is a good request.
        """
        try:
            request_id, entity, request = unpack(packet, descriptor, self._name)
        except (ValueError, OSError) as error:
            logger.error("a copy for the shadow of %s is lost: %s", self._name, error)
            return
        started = time.perf_counter()
        try:
            asked = dialects.read(request, self._model.schema)
            scores = self._model.score(asked.rows)
        except Exception as error:  # noqa: BLE001 - counted, and told
            self._tally.failed()
            self._counts.failed(self._name, SHADOW)
            self._tell(request_id, error)
            return
        seconds = time.perf_counter() - started
        self._tally.answered(seconds, scores)
        self._counts.answered(self._name, SHADOW, seconds)
        rows, at = asked.rows, time.time()
        entry = Entry(
            *(request_id, self._model, rows.checked, rows.given, scores, at, seconds),
            variant=SHADOW,
            size=len(request.body),
            entity=entity,
        )
        self._log.put(entry)

    def _tell(self, request_id: bytes, error: Exception) -> None:
        """Rarer and rarer, lest the server's log fills."""
        self._failures += 1
        if self._failures & (self._failures - 1) == 0:
            text = error.text if isinstance(error, RowError) else repr(error)
            if isinstance(error, Refusal):
                text = str(error.content)
            text = without_values(text[:1000])
            said = (self._name, request_id.decode(errors="replace"), self._failures, text)
            logger.warning("the shadow of %s failed at request %s (%d in all): %s", *said)


def run_shadow(options: ShadowOptions) -> None:
    """Be a shadow until the front ends it, goes, or no longer renews its lease.

    What keeps a candidate from being loaded is told to the front, and raised.
    """
    os.nice(_NICE)  # users are answered first
    end_with_parent(options.parent)
    tie = socket.socket(fileno=options.tie)
    try:
        model = _open(options)
        listener = _listen(options.path)
    except Exception as error:
        tie.send(orjson.dumps({"kind": "failed", "error": told_error(error)}))
        raise
    with listener:
        asyncio.run(_live(options, model, listener, tie))


async def _live(
    options: ShadowOptions, model: OnnxModel, listener: socket.socket, tie: socket.socket
) -> None:
    log = PredictionLog(
        options.predictions,
        _count_lost,
        replica=f"{SHADOW}-{os.getpid()}",
        finish=_LeftToReplicas,
    )
    _give_journals(options.predictions)
    if sys.platform == "linux":
        # Once it is loaded, it gets the time that nobody else wants, and so does its log, a thread
        # that begins from here: who answers users and wakes does not wait for it. Where there is no
        # such time, copies are dropped.
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    log.start()
    await Shadow(model, log, tie).run(listener)


def _open(options: ShadowOptions) -> OnnxModel:
    identity = options.identity
    copies = ModelCopies(options.root, public_key=options.public_key)
    folder = copies.verified(identity.name, identity.digest)
    with limited_memory(identity.name, options.memory):
        return open_verified(folder, identity, threads=options.threads)


def _listen(path: Path) -> socket.socket:
    """The socket that replicas send copies to, in place of one that a former shadow left."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    own = path.with_name(f"s{os.getpid()}")
    own.unlink(missing_ok=True)
    listener.bind(str(own))
    # Replicas in containers are of another user; who may enter the folder may send.
    own.chmod(0o666)
    listener.listen(128)
    listener.setblocking(False)
    own.rename(path)
    return listener


class _LeftToReplicas:
    """A shadow writes journals; a replica makes Parquet of them, together with its own."""

    def result(self) -> Result:
        return Result()


def _give_journals(predictions: Path) -> None:
    """Replicas in containers write there, too, and are of another user than a front of root's."""
    folder = predictions / JOURNALS
    try:
        folder.mkdir(parents=True, exist_ok=True)
        owner = predictions.stat()
        if os.geteuid() == 0 and folder.stat().st_uid != owner.st_uid:
            os.chown(folder, owner.st_uid, owner.st_gid)
    except OSError as error:
        logger.error("%s is not to be written: %s", folder, error)  # the log tells what it loses


def _page(counts: VariantCounts, model: OnnxModel) -> str:
    """The text that Prometheus reads, as of the front: a shadow is no replica that is scaled."""
    from prometheus_client import generate_latest

    families = [*counts.families(), model_infos([(model, SHADOW)])]
    for family in families:
        family.samples = [
            sample._replace(labels={**sample.labels, "replica": "front"})
            for sample in family.samples
        ]
    collected = SimpleNamespace(collect=lambda: families)
    return generate_latest(collected).decode()  # it asks for `collect` only


def _count_lost(rows: int) -> None:
    """The log itself says what it lost."""
    logger.debug("%d rows of a shadow are not logged", rows)
