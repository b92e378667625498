"""Keeps posted labels: a request is answered when its rows are on the disk, not before.

Requests that wait at the same time share one flush of the disk. A journal that is closed, or whose
process is dead, is turned into Parquet by the process that does so for the prediction log.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from ferryman.serving.log.journal import LABELS, Journal

_ROLL_SECONDS = 60.0
_ROLL_BYTES = 32 * 1024 * 1024
_MOST_WAITING_BYTES = 64 * 1024 * 1024

logger = logging.getLogger(__name__)


class _Waiting(NamedTuple):
    frame: bytes
    rows: int
    kept: "asyncio.Future[None]"


class TooBusyError(Exception):
    """More waits for the disk than may be held in memory."""


class LabelJournal:
    """The journal of one replica's labels. `keep` belongs to the event loop, `roll` to any thread.

    `root` is the folder of the prediction log.
    """

    def __init__(self, root: Path, replica: str = "") -> None:
        self._root, self._replica = root, replica
        self._lock = threading.Lock()
        self._journal = Journal(root, replica, LABELS)
        self._waiting: list[_Waiting] = []
        self._bytes = 0
        self._was_left = False  # a journal that could not be written any more
        self._writing: asyncio.Task[None] | None = None
        self._pool: ThreadPoolExecutor | None = None

    async def keep(self, frame: bytes, rows: int) -> None:
        """Return when the frame is on the disk; OSError where it takes no more.

        TooBusyError where too much waits already. What fails may be asked again: the same rows
        count once.
        """
        if self._bytes + len(frame) > _MOST_WAITING_BYTES:
            raise TooBusyError
        loop = asyncio.get_running_loop()
        waiting = _Waiting(frame, rows, loop.create_future())
        self._waiting.append(waiting)
        self._bytes += len(frame)
        if self._writing is None:
            self._writing = loop.create_task(self._write_all())
        await waiting.kept

    def roll(self, *, at_once: bool = False) -> bool:
        """Close the journal where it is time, or at once; whether something is to be finished."""
        with self._lock:
            journal = self._journal
            age = time.monotonic() - journal.begun
            is_due = at_once or journal.size >= _ROLL_BYTES or age >= _ROLL_SECONDS
            was_left, self._was_left = self._was_left, False
            if not journal.rows or not is_due:
                return was_left
            self._roll()
            return True

    def close(self) -> None:
        """End the thread; what was kept stays."""
        if self._pool is not None:
            self._pool.shutdown(wait=True)

    async def _write_all(self) -> None:
        loop = asyncio.get_running_loop()
        if self._pool is None:
            self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="labels")
        while self._waiting:
            batch, self._waiting = self._waiting, []
            try:
                await loop.run_in_executor(self._pool, self._write, batch)
            except Exception as error:  # noqa: BLE001 - told to each of them
                for one in batch:
                    if not one.kept.done():
                        one.kept.set_exception(error)
            else:
                for one in batch:
                    if not one.kept.done():  # its client has gone
                        one.kept.set_result(None)
            self._bytes -= sum(len(one.frame) for one in batch)
        self._writing = None

    def _write(self, batch: Sequence[_Waiting]) -> None:
        """All of them, or none."""
        content, rows = b"".join(one.frame for one in batch), sum(one.rows for one in batch)
        with self._lock:
            try:
                self._journal.append(content, rows)
                self._journal.sync()
            except OSError:
                # Nobody knows what of it the disk has: what comes next goes to another file.
                self._was_left = self._journal.rows > 0
                self._roll()
                raise

    def _roll(self) -> None:
        self._journal.close()
        self._journal = Journal(self._root, self._replica, LABELS)
