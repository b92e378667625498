"""Writes the prediction log: what was asked and answered, off the request's path.

Answers are queued; a thread of its own lays them into a journal a fraction of a second later. Now
and then the journal is closed, and a child process turns it into Parquet files and brings these to
where they belong: the replica loads nothing that this needs.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from weakref import WeakKeyDictionary

from ferryman.serving.log.child import Child, Run
from ferryman.serving.log.entries import Entry, weight
from ferryman.serving.log.finishing import Beside, Finishing, nothing_beside
from ferryman.serving.log.frames import Layout, pack
from ferryman.serving.log.journal import Journal, journals_size, others
from ferryman.serving.log.upload import waiting_size
from ferryman.serving.models.onnx_model import OnnxModel

__all__ = ["FLUSH_SECONDS", "SPOOL_BYTES", "Entry", "PredictionLog"]

FLUSH_SECONDS = 60.0
SPOOL_BYTES = 1 << 30
_TICK_SECONDS = 0.2
_CHILD_TICK_SECONDS = 0.05
_LAST_SECONDS = 30.0
_SAY_SECONDS = 10.0
_MEASURE_SECONDS = 1.0
_CAPACITY = 200_000  # rows in the queue
_CAPACITY_BYTES = 64 * 1024 * 1024
_JOURNAL_ROWS = 200_000
_JOURNAL_BYTES = 32 * 1024 * 1024  # the child needs about three times as much
_PIECE_ROWS = 512  # a millisecond: with fewer, waiting for the interpreter bounds the rows a second
_BREATH_SECONDS = 1e-4

logger = logging.getLogger(__name__)


class PredictionLog:
    """A bounded queue and the thread that writes it. `put` never waits and never fails.

    `on_drop` is called with the number of rows that could not be kept, from either thread.
    `replica` tells this process's files from those of others in the same folder. With `upload`,
    finished files are brought to where the settings say. `spool_bytes` may wait for either.
    `finish` begins to turn journals into files; a child process, if none is given. `beside` closes
    journals of another kind, which are finished together with these.
    """

    def __init__(  # noqa: PLR0913  - what bounds it, and where it goes
        self,
        root: Path,
        on_drop: Callable[[int], None],
        *,
        replica: str = "",
        capacity: int = _CAPACITY,
        upload: bool = False,
        spool_bytes: int = SPOOL_BYTES,
        finish: Callable[[], Run] | None = None,
        beside: Beside = nothing_beside,
    ) -> None:
        self._root, self._replica = root, replica
        self._on_drop = on_drop
        self._capacity = capacity
        self._upload, self._spool_bytes = upload, spool_bytes
        self._beside = beside
        self._finishing = Finishing(finish or (lambda: Child(root, upload=upload)))
        self._entries: deque[tuple[Entry, int]] = deque()
        # What was put and what was taken are each counted by one thread: no lock on either side.
        self._put_rows = self._put_bytes = 0
        self._taken_rows = self._taken_bytes = 0
        self._layouts: WeakKeyDictionary[OnnxModel, Layout] = WeakKeyDictionary()
        self._journal = Journal(root, replica)
        self._measured, self._is_full = -_MEASURE_SECONDS, False
        # Rows that the queue refused, and that were lost later: each counted by one thread, too.
        self._refused = self._lost = self._said_lost = 0
        self._last_error: object = None
        self._said = -_SAY_SECONDS
        self._wake = threading.Event()
        self._finished = threading.Condition()
        self._closing = 0.0  # when it was told to end
        self._wanted = self._noted = self._covered = self._done = 0
        self._thread = threading.Thread(target=self._live, name="prediction-log", daemon=True)

    @property
    def queued(self) -> int:
        """Rows that wait to be written."""
        return self._put_rows - self._taken_rows

    def start(self) -> None:
        """Begin to write; what a killed server left is finished a little later."""
        self._thread.start()

    def put(self, entry: Entry) -> None:
        """Queue an answered request, or count its rows as dropped when the queue is full.

        To be called by one thread, the one that answers.
        """
        rows, size = len(entry.scores), weight(entry)
        put_rows, put_bytes = self._put_rows + rows, self._put_bytes + size
        if (
            put_rows - self._taken_rows > self._capacity
            or put_bytes - self._taken_bytes > _CAPACITY_BYTES
        ):
            self._refused += rows
            self._on_drop(rows)
            return
        self._put_rows, self._put_bytes = put_rows, put_bytes
        self._entries.append((entry, size))

    def flush(self, timeout: float = 30.0) -> bool:
        """Wait until all that was put before is where it is read; False after `timeout` seconds.

        What could not be kept is counted as dropped, and not waited for. `problem` says why a flush
        did not come to an end.
        """
        with self._finished:
            self._wanted += 1
            ticket = self._wanted
            self._wake.set()
            return self._finished.wait_for(lambda: self._done >= ticket, timeout)

    @property
    def problem(self) -> str:
        """Why files could not be finished the last time; empty when they were."""
        return self._finishing.problem

    def close(self) -> None:
        """Write what is queued, finish it, and end the thread."""
        self._closing = time.monotonic()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout=_LAST_SECONDS + 1)

    def _live(self) -> None:
        self._guarded(self._look_for_work)
        tried_last = False
        while True:
            self._wake.wait(_CHILD_TICK_SECONDS if self._finishing.is_running else _TICK_SECONDS)
            self._wake.clear()
            closing, wanted = self._closing, self._wanted
            self._take()
            is_asked, self._noted = wanted > self._noted, wanted
            rolls = bool(closing) or is_asked or self._is_journal_due()
            if rolls:
                self._roll()
            if self._beside(at_once=rolls):
                self._finishing.is_due = True
            if is_asked:
                # What another replica answered before it was killed was put before, too.
                self._guarded(self._look_for_work)
                self._finishing.hurry()
            self._end_attempt()
            if self._finishing.start(at_once=bool(closing) and not tried_last):
                self._covered, tried_last = wanted, bool(closing)
            if not self._finishing.is_due and not self._finishing.is_running:
                self._tell_done(wanted)
            self._say_faults()
            if closing and self._has_ended(closing, tried_last):
                return

    def _has_ended(self, closing: float, tried_last: bool) -> bool:
        if self._entries or self._finishing.is_running:
            # The child goes on without us.
            return time.monotonic() - closing > _LAST_SECONDS
        return tried_last or not self._finishing.is_due

    def _is_journal_due(self) -> bool:
        journal = self._journal
        return journal.rows > 0 and (
            journal.size >= _JOURNAL_BYTES
            or journal.rows >= _JOURNAL_ROWS
            or time.monotonic() - journal.begun >= FLUSH_SECONDS
        )

    def _look_for_work(self) -> None:
        """There may be journals of the dead, or files that are to be brought away."""
        if others(self._root, self._journal) or (self._upload and waiting_size(self._root)):
            self._finishing.is_due = True

    def _roll(self) -> None:
        """Close the journal, if it holds anything: it is to be finished."""
        if self._journal.rows:
            self._journal.close()
            self._journal = Journal(self._root, self._replica)
            self._finishing.is_due = True

    def _end_attempt(self) -> None:
        result = self._finishing.result()
        if result is None:
            return
        self._measured = -_MEASURE_SECONDS
        if result.lost:
            self._drop(result.lost, "what made no sense")
        if result.problems:
            self._last_error = self._finishing.problem
        else:
            self._tell_done(self._covered)

    def _tell_done(self, ticket: int) -> None:
        with self._finished:
            self._done = max(self._done, ticket)
            self._finished.notify_all()

    def _take(self) -> None:
        """Lay all that is queued into the journal, a piece at a time."""
        while self._entries:
            pieces: dict[tuple[OnnxModel, str, float], list[Entry]] = {}
            rows = size = 0
            while self._entries and rows < _PIECE_ROWS:
                entry, its_size = self._entries.popleft()
                kind = (entry.model, entry.variant, entry.propensity)
                pieces.setdefault(kind, []).append(entry)
                rows += len(entry.scores)
                size += its_size
            for (model, *_), entries in pieces.items():
                self._keep(model, entries)
            self._taken_bytes += size
            self._taken_rows += rows
            # Answers need the interpreter: else they wait milliseconds for it.
            time.sleep(_BREATH_SECONDS)

    def _keep(self, model: OnnxModel, entries: Sequence[Entry]) -> None:
        rows = sum(len(entry.scores) for entry in entries)
        try:
            if self._cannot_wait():
                self._drop(rows, "too much waits to be finished or brought away")
                return
            layout = self._layouts.get(model)
            if layout is None:
                layout = self._layouts[model] = Layout(model)
            frame = pack(layout, entries)
        except Exception as error:  # noqa: BLE001 - told by _say_faults
            if len(entries) > 1:  # one that makes no sense must not take the others along
                for entry in entries:
                    self._keep(model, [entry])
            else:
                self._drop(rows, error)
            return
        try:
            self._journal.append(frame, rows)
        except OSError as error:
            self._drop(rows, error)
        if self._is_journal_due():
            self._roll()

    def _cannot_wait(self) -> bool:
        """Whether what waits takes all the room it may; looked at once a second."""
        now = time.monotonic()
        if now - self._measured >= _MEASURE_SECONDS:
            size = journals_size(self._root) + (waiting_size(self._root) if self._upload else 0)
            self._measured, self._is_full = now, size >= self._spool_bytes
        return self._is_full

    def _drop(self, rows: int, error: object) -> None:
        self._lost += rows
        self._last_error = error or self._last_error
        self._on_drop(rows)

    def _guarded(self, work: Callable[[], None]) -> None:
        """Do what may fail without a loss: it is said, and logging goes on."""
        try:
            work()
        except OSError as error:
            self._last_error = error

    def _say_faults(self) -> None:
        """Now and then only: what fills a disk would fill the server's own log, too."""
        lost = self._lost + self._refused - self._said_lost
        now = time.monotonic()
        if (lost or self._last_error) and now - self._said >= _SAY_SECONDS:
            error = self._last_error or "the queue was full"
            logger.error("prediction log: %d rows lost; %s", lost, error)
            self._said, self._said_lost, self._last_error = now, self._said_lost + lost, None
