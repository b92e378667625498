"""Writes the prediction log: what was asked and answered, off the request's path.

A file is written beside and renamed: whole or absent. A killed server loses at most what was not
flushed yet; it never leaves a torn file.
"""

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from ferryman.serving import dialects
from ferryman.serving.onnx_model import OnnxModel, Scores
from ferryman.serving.prediction_log import own_fields
from ferryman.serving.requests import Request
from ferryman.serving.rows import ENTITY_KEY, EVENT_TIME, Rows
from ferryman.spec.windows import format_time

CHAMPION = "champion"
FLUSH_SECONDS = 10.0
_CAPACITY = 200_000  # rows in the queue
_CAPACITY_BYTES = 64 * 1024 * 1024
_FILE_ROWS = 20_000

logger = logging.getLogger(__name__)


class Entry(NamedTuple):
    """One answered request as it came in.

    `at`: when, seconds since 1970; `seconds`: how long the answer took; `variant`: who answered.

    The body is read again when it is written: a queue of bytes costs a tenth of the memory of a
    queue of rows, and the garbage collector nothing.
    """

    request_id: bytes
    model: OnnxModel
    request: Request
    scores: Scores
    at: float
    seconds: float = 0.0
    variant: str = CHAMPION


class PredictionLog:
    """A bounded queue and the thread that writes it. `put` never waits and never fails.

    `on_drop` is called with the number of rows that could not be kept.
    """

    def __init__(
        self, root: Path, on_drop: Callable[[int], None], *, capacity: int = _CAPACITY
    ) -> None:
        self._root = root
        self._on_drop = on_drop
        self._capacity = capacity
        self._entries: deque[Entry] = deque()
        self._queued = 0
        self._queued_bytes = 0
        self._files = 0
        self._wake = threading.Condition()
        self._closing = False
        self._wanted = 0
        self._done = 0
        self._thread = threading.Thread(target=self._run, name="prediction-log", daemon=True)

    def start(self) -> None:
        """Begin to write; temporary files of a killed server are removed first."""
        for left in self._root.glob("*/date=*/.*.tmp"):
            left.unlink(missing_ok=True)
        self._thread.start()

    def put(self, entry: Entry) -> None:
        """Queue an answered request, or count its rows as dropped when the queue is full."""
        rows = len(entry.scores)
        with self._wake:
            before = self._queued
            size = self._queued_bytes + len(entry.request.body)
            if before + rows <= self._capacity and size <= _CAPACITY_BYTES:
                self._entries.append(entry)
                self._queued += rows
                self._queued_bytes = size
                if before < _FILE_ROWS <= self._queued:
                    self._wake.notify_all()
                return
        self._on_drop(rows)

    def flush(self, timeout: float = 30.0) -> bool:
        """Wait until all that was put before is on disk (or dropped); False after `timeout` s."""
        with self._wake:
            self._wanted += 1
            ticket = self._wanted
            self._wake.notify_all()
            return self._wake.wait_for(lambda: self._done >= ticket, timeout)

    def close(self) -> None:
        """Write what is queued and end the thread."""
        with self._wake:
            self._closing = True
            self._wake.notify_all()
        self._thread.join(timeout=30)

    def _run(self) -> None:
        while True:
            with self._wake:
                self._wake.wait_for(self._has_cause, FLUSH_SECONDS)
                entries, self._entries = list(self._entries), deque()
                self._queued = self._queued_bytes = 0
                wanted, closing = self._wanted, self._closing
            self._write(entries)
            with self._wake:
                self._done = wanted
                self._wake.notify_all()
                if closing and not self._entries:
                    return

    def _has_cause(self) -> bool:
        return self._closing or self._wanted > self._done or self._queued >= _FILE_ROWS

    def _write(self, entries: Sequence[Entry]) -> None:
        groups: dict[OnnxModel, list[Entry]] = {}
        for entry in entries:
            groups.setdefault(entry.model, []).append(entry)
        for model, group in groups.items():
            count = sum(len(entry.scores) for entry in group)
            try:
                self._write_model(model, group)
            except Exception:
                # A full disk must not end logging: these rows are lost, and said to be lost.
                logger.exception("%d predictions could not be logged", count)
                self._on_drop(count)

    def _write_model(self, model: OnnxModel, entries: Sequence[Entry]) -> None:
        # One growing buffer a day: orjson's small results hold 4 kB each for as long as they live.
        days: dict[str, bytearray] = {}
        for entry in entries:
            for line in _lines(model, entry):
                lines = days.setdefault(line["event_time"][:10], bytearray())
                lines += orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)
        for day, lines in sorted(days.items()):
            self._write_file(model.identity.name, day, _read_lines(model, lines))

    def _write_file(self, name: str, day: str, table: Any) -> None:
        import pyarrow.parquet as pq

        folder = self._root / name / f"date={day}"
        folder.mkdir(parents=True, exist_ok=True)
        self._files += 1
        stem = f"{time.time_ns()}-{os.getpid()}-{self._files}"
        scratch = folder / f".{stem}.tmp"
        try:
            with scratch.open("wb") as stream:
                pq.write_table(table, stream, compression="zstd", row_group_size=131_072)
                stream.flush()
                os.fsync(stream.fileno())
            scratch.rename(folder / f"{stem}.parquet")
        except BaseException:
            scratch.unlink(missing_ok=True)
            raise


def _read_lines(model: OnnxModel, lines: bytearray) -> Any:
    """Lines of JSON as a pyarrow Table.

    By way of JSON, because pyarrow makes columns of Python lists only after it imported pandas,
    wherever it is installed: 40 MB and a second without answers.
    """
    import pyarrow as pa  # here: 25 MB that a server needs only once it logs
    import pyarrow.json as pj

    kinds = {"integer": pa.int64(), "number": pa.float64(), "category": pa.string()}
    features = [pa.field(name, kinds[kind]) for name, kind in model.schema.types.items()]
    signature = model.signature
    schema = pa.schema(own_fields(signature.task, signature.classes) + features)
    table = pj.read_json(
        pa.py_buffer(lines),
        read_options=pj.ReadOptions(use_threads=False, block_size=len(lines) + 1),
        parse_options=pj.ParseOptions(explicit_schema=schema, unexpected_field_behavior="error"),
    )
    # The reader drops what the fields say of themselves.
    return pa.Table.from_arrays(table.select(schema.names).columns, schema=schema)


def _lines(model: OnnxModel, entry: Entry) -> Iterator[dict[str, Any]]:
    """What is logged of each row of a request, as JSON values."""
    rows = dialects.read(entry.request, model.schema).rows
    at = datetime.fromtimestamp(entry.at, UTC)
    given_times = rows.given.get(EVENT_TIME, [None] * rows.size)
    times = [moment or at for moment in given_times]
    keys = _entity_keys(entry, rows, times)
    identity = model.identity
    for row in range(rows.size):
        line = {
            "request_id": entry.request_id.decode(),
            ENTITY_KEY: keys[row],
            EVENT_TIME: format_time(times[row]),
            "version": identity.version,
            "epoch": identity.epoch,
            "score": entry.scores[row],
            "logged_at": format_time(at),
        }
        for name, kind in model.schema.types.items():
            line[name] = _as_logged(rows.columns[name][row], kind)
        yield line


def _as_logged(value: Any, kind: str) -> Any:
    """Clients may write a whole number as 5.0, or a fraction as 5; the log keeps the type."""
    if value is None or kind == "category":
        return value
    return int(value) if kind == "integer" else float(value)


def _entity_keys(entry: Entry, rows: Rows, times: Sequence[datetime]) -> list[str]:
    """The given key; else the entity columns and the event time; else the request and the row."""
    count = rows.size
    given = rows.given.get(ENTITY_KEY, [None] * count)
    values = {**rows.columns, **rows.given}
    parts = [values.get(name) for name in entry.model.schema.entity]
    known = bool(parts) and EVENT_TIME in rows.given
    keys = []
    for row in range(count):
        if given[row] is not None:
            keys.append(given[row])
            continue
        cells = [column[row] for column in parts if column is not None]
        if known and len(cells) == len(parts) and None not in cells:
            keys.append("|".join([*map(str, cells), format_time(times[row])]))
        else:
            keys.append(f"{entry.request_id.decode()}#{row}")
    return keys
