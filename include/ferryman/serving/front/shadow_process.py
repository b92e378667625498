"""The process of one shadow, as its front keeps it: started again, until its lease runs out."""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from ferryman.errors import DependencyUnavailable, FerrymanError, IntegrityBroken
from ferryman.runtime.channel_path import channel_path, shadow_path
from ferryman.runtime.serving_command import MODULE
from ferryman.runtime.traffic import Traffic, VariantFigures
from ferryman.serving.front.children import resident_bytes
from ferryman.serving.front.trial import DEFAULT_MEMORY
from ferryman.serving.models.memory_limit import MIB, too_much_memory
from ferryman.serving.sockets.channel import Channel, Message, rebuild_error

_LOAD_SECONDS = 120.0
_LOOK_SECONDS = 0.25
_PING_SECONDS = 1.0
_HANG_SECONDS = 120.0  # where the machine is busy, it gets little time
_FIGURES_SECONDS = 2.0
_FLUSH_SECONDS = 35.0
LEAVE_SECONDS = 40.0
_END_SECONDS = 1.0
_STEADY_SECONDS = 10.0
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ShadowPlace:
    """What every shadow of a server is told. `memory` is in bytes, of each; 0: DEFAULT_MEMORY."""

    root: Path
    predictions: Path
    threads: int = 1
    memory: int = 0
    public_key: Path | None = None

    def command(self, name: str, traffic: Traffic, tie: int) -> list[str]:
        """The command line of one; `tie` is the descriptor of its end of the channel."""
        path = shadow_path(channel_path(self.root), name)
        told: dict[str, object] = {
            "--root": self.root,
            "--predictions": self.predictions,
            "--model": name,
            "--version": traffic.version,
            "--epoch": traffic.base_epoch,
            "--digest": traffic.digest,
            "--path": path,
            "--tie": tie,
            "--parent": os.getpid(),
            "--threads": self.threads,
            "--memory": self.limit,
        }
        if self.public_key is not None:
            told["--public-key"] = self.public_key
        words = [str(part) for pair in told.items() for part in pair]
        return [sys.executable, "-m", MODULE, "shadow", *words]

    @property
    def limit(self) -> int:
        """The memory that one may use, in bytes."""
        return self.memory or DEFAULT_MEMORY


class ShadowProcess:
    """One candidate's process, started again when it ends by itself."""

    def __init__(self, place: ShadowPlace, name: str, traffic: Traffic, until: float) -> None:
        self._place, self._name = place, name
        self._traffic, self._until = traffic, until
        self._channel: Channel | None = None
        self._wake = asyncio.Event()  # ready, failed, or told to end
        self._loaded: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        # Nobody may be waiting any more when it fails.
        self._loaded.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._failure: FerrymanError | None = None
        self._past: list[VariantFigures] = []
        self._last = VariantFigures()
        self._lost = False
        self.is_ready = False
        self.ended = False
        self.task = asyncio.get_running_loop().create_task(self._live())

    def is_of(self, traffic: Traffic) -> bool:
        """Whether this is the candidate of that share."""
        mine = self._traffic
        return (mine.op, mine.version, mine.digest, mine.base_epoch) == (
            *(traffic.op, traffic.version, traffic.digest, traffic.base_epoch),
        )

    def renew(self, traffic: Traffic, until: float) -> None:
        """Go on until then; what is counted begins anew with a new stage."""
        if traffic.stage != self._traffic.stage:
            self._past, self._last = [], VariantFigures()
        self._traffic, self._until = traffic, until
        self._tell()

    async def wait_until_loaded(self) -> None:
        """Until it took copies for the first time; raises what kept it from it."""
        try:
            async with asyncio.timeout(_LOAD_SECONDS):
                await asyncio.shield(self._loaded)
        except TimeoutError:
            text = f"the shadow of {self._name} did not load within {_LOAD_SECONDS:.0f} s"
            raise DependencyUnavailable(text, remedy="Read the server's log.") from None

    async def figures(self) -> list[VariantFigures]:
        """See `Shadows.figures`; the last that were heard where it does not answer now."""
        await self._look()
        return [*self._past, self._last]

    async def page(self) -> str:
        """Its metrics; empty where it does not answer now."""
        if self._channel is None or not self.is_ready:
            return ""
        try:
            text: str = await self._channel.ask({"kind": "metrics"}, _FIGURES_SECONDS)
        except FerrymanError as error:
            logger.debug("the shadow of %s: %s", self._name, error)
            return ""
        return text

    async def flush(self) -> None:
        """Wait until its log is written."""
        if self._channel is not None and self.is_ready:
            await self._channel.ask({"kind": "flush"}, _FLUSH_SECONDS)

    def end(self) -> None:
        """Have it finish and end."""
        self.ended, self.is_ready = True, False
        if not self._loaded.done():
            self._loaded.set_exception(DependencyUnavailable("the share has ended meanwhile"))
        if self._channel is not None:
            self._channel.send({"kind": "end"})
        self._wake.set()

    @property
    def _is_wanted(self) -> bool:
        return not self.ended and time.monotonic() < self._until

    async def _live(self) -> None:
        pause = 0.0
        while self._is_wanted:
            began = time.monotonic()
            try:
                why = await self._live_once()
            except OSError as error:
                why = f"it cannot be started: {error}"
            self.is_ready = False
            if not self._is_wanted:
                break
            logger.error("the shadow of %s is gone: %s", self._name, why)
            if not self._loaded.done():
                self._loaded.set_exception(self._failure or _not_loaded(self._name, why))
                break
            # What it was at when it ended: a request that it failed at.
            self._past += [self._last, VariantFigures(requests=1, errors=1)]
            self._last = VariantFigures()
            lived = time.monotonic() - began
            pause = 0.0 if lived > _STEADY_SECONDS else pause
            pause = min(max(pause * 2, _SHORTEST_PAUSE), _LONGEST_PAUSE)
            await self._sleep(pause)
        self.ended = True
        if not self._loaded.done():
            self._loaded.set_exception(DependencyUnavailable("the lease ran out meanwhile"))

    async def _live_once(self) -> str:
        """Start a process and watch it to its end; why it ended."""
        own, others = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with contextlib.ExitStack() as undo:
            undo.enter_context(own)
            with others:
                process = await asyncio.create_subprocess_exec(
                    *self._place.command(self._name, self._traffic, others.fileno()),
                    stdin=asyncio.subprocess.DEVNULL,
                    pass_fds=(others.fileno(),),
                    start_new_session=True,
                )
            undo.pop_all()
        self._lost, reason = False, ""
        self._channel = Channel(own, self._hear, self._gone)
        self._tell()
        try:
            reason = await self._watch(process)
            if not reason and not self._lost:
                await self._leave(process)
        finally:
            self.is_ready = False
            code = await _await_end(process, 0.0 if reason else _END_SECONDS)
            await self._hear_out()
            self._channel.close()
            self._channel = None
        return reason or _how_it_ended(code)

    async def _watch(self, process: asyncio.subprocess.Process) -> str:
        """Until it is gone, or no longer wanted; why it must be ended, or nothing."""
        heard = looked = time.monotonic()
        while self._is_wanted and process.returncode is None and not self._lost:
            await self._sleep(_LOOK_SECONDS)
            used = resident_bytes(process.pid)
            if used > self._place.limit:
                text = f"it used {used / MIB:.0f} MiB"
                self._failure = too_much_memory(self._name, self._place.limit, text)
                return self._failure.text
            now = time.monotonic()
            if not self.is_ready:
                heard = now
            elif now - looked >= _PING_SECONDS:
                looked = now
                if await self._look():
                    heard = time.monotonic()
                elif now - heard > _HANG_SECONDS:
                    return f"it has not answered for {_HANG_SECONDS:.0f} s"
        return ""

    async def _hear_out(self) -> None:
        """What it said before it ended may not have been read yet."""
        deadline = time.monotonic() + _END_SECONDS
        while not self._lost and time.monotonic() < deadline:
            await asyncio.sleep(0.005)

    async def _leave(self, process: asyncio.subprocess.Process) -> None:
        """Let it finish its log."""
        if self._channel is not None:
            self._channel.send({"kind": "end"})
        try:
            async with asyncio.timeout(LEAVE_SECONDS):
                await process.wait()
        except TimeoutError:
            logger.error("the shadow of %s did not end in time", self._name)

    async def _look(self) -> bool:
        """Ask for its figures; whether it answered."""
        if self._channel is None or not self.is_ready:
            return False
        stage = self._traffic.stage
        try:
            told = await self._channel.ask({"kind": "figures"}, _FIGURES_SECONDS)
        except FerrymanError as error:
            logger.debug("the shadow of %s: %s", self._name, error)
            return False
        if (told.pop("stage") or ["", -1])[1] == stage == self._traffic.stage:
            self._last = VariantFigures.model_validate(told)
        return True

    def _tell(self) -> None:
        if self._channel is not None:
            traffic = self._traffic.model_dump()
            self._channel.send({"kind": "follow", "traffic": traffic, "until": self._until})

    def _hear(self, message: Message, descriptor: int | None) -> None:
        if descriptor is not None:
            os.close(descriptor)
        if message["kind"] == "ready":
            self.is_ready = not self.ended
            if not self._loaded.done():
                self._loaded.set_result(None)
        elif message["kind"] == "failed":
            self._failure = rebuild_error(message["error"])

    def _gone(self) -> None:
        self._lost, self.is_ready = True, False
        self._wake.set()

    async def _sleep(self, seconds: float) -> None:
        """Wait, but not longer than until there is something to do."""
        self._wake.clear()
        if not self._is_wanted or self._lost:
            return
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            return


async def _await_end(process: asyncio.subprocess.Process, seconds: float) -> int:
    """Its exit code; it is killed where it does not end in time."""
    try:
        async with asyncio.timeout(seconds):
            return await process.wait()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
    return await process.wait()


def _how_it_ended(code: int) -> str:
    if code < 0:
        return f"it was ended by {signal.Signals(-code).name}"
    return f"it ended with exit code {code}"


def _not_loaded(name: str, why: str) -> IntegrityBroken:
    return IntegrityBroken(
        f"the shadow of {name} was not loaded: {why}", remedy="Read the server's log."
    )
