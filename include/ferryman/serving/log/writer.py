"""Writes the prediction log: what was asked and answered, off the request's path.

Answers are queued; a thread of its own makes rows of them, keeps these in a journal a fraction of a
second later, and now and then in a Parquet file, which is written beside and renamed: whole or
absent. Where files belong elsewhere, another thread brings them there.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ferryman.runtime.object_store import ObjectStore
from ferryman.serving.log.journal import Journal, recover, write_file
from ferryman.serving.log.rows import CHAMPION, Entry, Place, batches_of, place_of
from ferryman.serving.log.upload import LogUpload
from ferryman.serving.models.onnx_model import OnnxModel

__all__ = ["CHAMPION", "FLUSH_SECONDS", "Entry", "PredictionLog"]

FLUSH_SECONDS = 60.0
_TICK_SECONDS = 0.2
_SAY_SECONDS = 10.0
_CAPACITY = 200_000  # rows in the queue
_CAPACITY_BYTES = 64 * 1024 * 1024
_FILE_ROWS = 20_000
_PIECE_ROWS = 512

logger = logging.getLogger(__name__)


class PredictionLog:
    """A bounded queue and the thread that writes it. `put` never waits and never fails.

    `on_drop` is called with the number of rows that could not be kept, from either thread.
    `replica` tells this process's files from those of others in the same folder. `open_store` opens
    the place that finished files are brought to; until then at most `spool_bytes` of them wait.
    """

    def __init__(  # noqa: PLR0913  - what bounds it, and where it goes
        self,
        root: Path,
        on_drop: Callable[[int], None],
        *,
        replica: str = "",
        capacity: int = _CAPACITY,
        open_store: Callable[[], ObjectStore] | None = None,
        spool_bytes: int = 1 << 30,
    ) -> None:
        self._root, self._replica = root, replica
        self._on_drop = on_drop
        self._capacity = capacity
        self._entries: deque[Entry] = deque()
        # What was put and what was taken are each counted by one thread: no lock on either side.
        self._put_rows = self._put_bytes = 0
        self._taken_rows = self._taken_bytes = 0
        self._pending: dict[Place, list[Any]] = {}
        self._pending_rows = 0
        self._pending_since = 0.0
        self._journal = Journal(root, replica)
        self._upload = LogUpload(root, open_store, spool_bytes) if open_store else None
        # Rows that the queue refused, and that were lost later: each counted by one thread, too.
        self._refused = self._lost = self._said_lost = 0
        self._last_error: Exception | None = None
        self._said = -_SAY_SECONDS
        self._wake = threading.Event()
        self._finished = threading.Condition()
        self._closing = False
        self._wanted = self._done = 0
        self._thread = threading.Thread(target=self._run, name="prediction-log", daemon=True)

    @property
    def queued(self) -> int:
        """Rows that wait to be written."""
        return self._put_rows - self._taken_rows

    def start(self) -> None:
        """Begin to write; what a killed server left is recovered first."""
        self._thread.start()
        if self._upload:
            self._upload.start()

    def put(self, entry: Entry) -> None:
        """Queue an answered request, or count its rows as dropped when the queue is full.

        To be called by one thread, the one that answers.
        """
        rows = len(entry.scores)
        put_rows = self._put_rows + rows
        put_bytes = self._put_bytes + len(entry.request.body)
        if (
            put_rows - self._taken_rows > self._capacity
            or put_bytes - self._taken_bytes > _CAPACITY_BYTES
        ):
            self._refused += rows
            self._on_drop(rows)
            return
        self._put_rows, self._put_bytes = put_rows, put_bytes
        self._entries.append(entry)

    def flush(self, timeout: float = 30.0) -> bool:
        """Wait until all that was put before is where it is read; False after `timeout` seconds.

        What could not be kept is counted as dropped, and not waited for.
        """
        until = time.monotonic() + timeout
        with self._finished:
            self._wanted += 1
            ticket = self._wanted
            self._wake.set()
            if not self._finished.wait_for(lambda: self._done >= ticket, timeout):
                return False
        return self._upload is None or self._upload.wait(until - time.monotonic())

    def close(self) -> None:
        """Write what is queued and end the threads."""
        self._closing = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout=30)
        if self._upload:
            self._upload.close()

    def _run(self) -> None:
        self._guarded(self._begin)
        while True:
            self._wake.wait(_TICK_SECONDS)
            self._wake.clear()
            closing, wanted = self._closing, self._wanted
            self._take()
            due = time.monotonic() - self._pending_since >= FLUSH_SECONDS
            if self._pending_rows and (closing or due or wanted > self._done):
                self._write()
            if wanted > self._done:
                # What another replica answered before it was killed was put before, too.
                self._guarded(lambda: recover(self._root))
            self._say_faults()
            with self._finished:
                self._done = wanted
                self._finished.notify_all()
            if closing and not self._entries:
                return

    def _begin(self) -> None:
        import pyarrow.ipc
        import pyarrow.parquet  # noqa: F401  - now, and not beside the first answers

        recover(self._root)

    def _take(self) -> None:
        """Make rows of all that is queued, a piece at a time."""
        while self._entries:
            piece: dict[OnnxModel, list[Entry]] = {}
            rows = 0
            while self._entries and rows < _PIECE_ROWS:
                entry = self._entries.popleft()
                piece.setdefault(entry.model, []).append(entry)
                rows += len(entry.scores)
                self._taken_bytes += len(entry.request.body)
            for model, entries in piece.items():
                self._keep(model, entries)
            self._taken_rows += rows
            if self._pending_rows >= _FILE_ROWS:
                self._write()

    def _keep(self, model: OnnxModel, entries: Sequence[Entry]) -> None:
        try:
            batches = list(batches_of(model, entries))
        except Exception as error:  # noqa: BLE001 - told by _say_faults
            if len(entries) > 1:  # one that cannot be read again must not take the others along
                for entry in entries:
                    self._keep(model, [entry])
                return
            self._drop(len(entries[0].scores), error)
            return
        if not self._pending_rows:
            self._pending_since = time.monotonic()
        for batch in batches:
            self._pending.setdefault(place_of(batch), []).append(batch)
            self._pending_rows += batch.num_rows
        # Without a journal they are in memory alone for a while, and not lost.
        self._guarded(lambda: self._journal.append(batches))

    def _write(self) -> None:
        """Put all that is pending into files. A full disk must not end logging: it is lost then."""
        import pyarrow as pa

        pending, self._pending, self._pending_rows = self._pending, {}, 0
        journal, self._journal = self._journal, Journal(self._root, self._replica)
        full = self._upload is not None and self._upload.is_full
        failed = pending if full else self._write_files(journal.name, pending)
        # The journal's room may be all that was lacking.
        self._guarded(journal.remove)
        failed = failed if full else self._write_files(journal.name, failed)
        rows = sum(batch.num_rows for batches in failed.values() for batch in batches)
        if rows:
            self._drop(rows, OSError("too many files wait to be uploaded") if full else None)
        del pending, failed
        pa.default_memory_pool().release_unused()  # 14 MB, which the next file needs in a minute
        if self._upload:
            self._upload.wake()

    def _write_files(self, name: str, pending: Mapping[Place, list[Any]]) -> dict[Place, list[Any]]:
        """Write a file a place; what could not be written."""
        failed = {}
        for place, batches in pending.items():
            try:
                write_file(self._root, name, place, batches)
            except Exception as error:  # noqa: BLE001 - told by _say_faults
                self._last_error = error
                failed[place] = batches
        return failed

    def _drop(self, rows: int, error: Exception | None) -> None:
        self._lost += rows
        self._last_error = error or self._last_error
        self._on_drop(rows)

    def _guarded(self, work: Callable[[], object]) -> None:
        """Do what may fail without a loss: it is said, and logging goes on."""
        try:
            work()
        except Exception as error:  # noqa: BLE001 - told by _say_faults
            self._last_error = error

    def _say_faults(self) -> None:
        """Now and then only: what fills a disk would fill the server's own log, too."""
        lost = self._lost + self._refused - self._said_lost
        now = time.monotonic()
        if (lost or self._last_error) and now - self._said >= _SAY_SECONDS:
            error = self._last_error or "the queue was full"
            logger.error("prediction log: %d rows lost; %s", lost, error)
            self._said, self._said_lost, self._last_error = now, self._said_lost + lost, None
