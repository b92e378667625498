"""A trial of a candidate: in a process of its own, with so much memory and time and no more."""

import asyncio
import contextlib
import logging
import os
import signal
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE, Process
from pathlib import Path
from typing import Any

import orjson

from ferryman.errors import DependencyUnavailable, FerrymanError, IntegrityBroken
from ferryman.runtime.json_logs import message_of
from ferryman.runtime.serving_command import MODULE
from ferryman.serving.front.children import resident_bytes
from ferryman.serving.models.memory_limit import MIB, too_much_memory
from ferryman.serving.sockets.channel import rebuild_error

DEFAULT_MEMORY = 1 << 30
LONGEST_SECONDS = 120.0
_LOOK_SECONDS = 0.05
_LONGEST_TEXT = 64 * 1024
_LAST_LINE = 300

logger = logging.getLogger(__name__)


class Trial:
    """Tries candidates of the server whose state is in `root`, one at a time.

    `memory` is in bytes, of one replica; 0 where none is declared, then DEFAULT_MEMORY holds.
    """

    def __init__(
        self,
        root: Path,
        memory: int = 0,
        threads: int = 1,
        public_key: Path | None = None,
        seconds: float = LONGEST_SECONDS,
    ) -> None:
        self._root = root
        self._memory = memory or DEFAULT_MEMORY
        self._threads = threads
        self._public_key = public_key
        self._seconds = seconds
        self._lock = asyncio.Lock()

    async def run(self, name: str, digest: str) -> None:
        """Load a candidate's copy and replay its golden rows; returns when all is as recorded.

        Raises IntegrityBroken (exit 7) for wrong bytes or answers, for a candidate that takes more
        memory or time than it may, and for one that crashes; DependencyUnavailable (exit 6) where
        no process can be started.
        """
        async with self._lock:
            try:
                process = await self._start(name, digest)
            except OSError as error:
                raise DependencyUnavailable(f"no trial can be started: {error}") from error
            try:
                await self._judge(name, process)
            finally:
                await _end(process)

    async def _start(self, name: str, digest: str) -> Process:
        arguments = [
            *("--root", str(self._root)),
            *("--model", name),
            *("--digest", digest),
            *("--threads", str(self._threads)),
            *("--memory", str(self._memory)),
            *("--parent", str(os.getpid())),
        ]
        if self._public_key is not None:
            arguments += ["--public-key", str(self._public_key)]
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", MODULE, "try", *arguments),
            stdin=DEVNULL,
            stdout=PIPE,
            stderr=PIPE,
            start_new_session=True,
        )

    async def _judge(self, name: str, process: Process) -> None:
        """What came of it, as an error where it is one."""
        saying = asyncio.gather(_last_text(process.stdout), _last_text(process.stderr))
        watching = asyncio.ensure_future(self._watch(name, process))
        try:
            under_way: set[asyncio.Future[Any]] = {saying, watching}
            await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
            if watching.done():
                watching.result()  # why it was ended
            said, complaints = await saying
            code = await process.wait()
        finally:
            saying.cancel()
            watching.cancel()
            await asyncio.gather(saying, watching, return_exceptions=True)
        error = _told(said)
        if error is not None:
            raise error
        if code != 0 or not said:
            raise _crashed(name, code, complaints)

    async def _watch(self, name: str, process: Process) -> None:
        """Raise as soon as it takes too much of anything."""
        deadline = time.monotonic() + self._seconds
        while True:
            used = resident_bytes(process.pid)
            if used > self._memory:
                raise too_much_memory(name, self._memory, f"it used {used / MIB:.0f} MiB")
            if time.monotonic() > deadline:
                raise IntegrityBroken(
                    f"the candidate of {name} did not pass its trial within {self._seconds:g} s",
                    remedy="Make it smaller or quicker: a server could not be started with it.",
                )
            await asyncio.sleep(_LOOK_SECONDS)


async def _end(process: Process) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
    await process.wait()


async def _last_text(stream: asyncio.StreamReader | None) -> bytes:
    """The last of what is said, until the stream ends."""
    kept = b""
    while stream is not None and (piece := await stream.read(_LONGEST_TEXT)):
        kept = (kept + piece)[-_LONGEST_TEXT:]
    return kept


def _told(said: bytes) -> FerrymanError | None:
    """The error that it told in its last line; None where it told none, or died before."""
    lines = said.splitlines()
    try:
        told = orjson.loads(lines[-1]) if lines else {}
        error = told.get("error")
        return None if error is None else rebuild_error(error)
    except (ValueError, AttributeError, TypeError, KeyError):
        return IntegrityBroken(f"a trial said what makes no sense: {lines[-1][:_LAST_LINE]!r}")


def _crashed(name: str, code: int, complaints: bytes) -> IntegrityBroken:
    ended = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"
    lines = complaints.decode(errors="replace").split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    told = f": {message_of(last)[:_LAST_LINE]}" if last else ""
    logger.error("the trial of a candidate of %s %s%s", name, ended, told)
    return IntegrityBroken(
        f"the trial of the candidate of {name} {ended}{told}",
        remedy="Do not serve this version: its model ends the process that loads it.",
    )
