"""Writes the prediction log: what was asked and answered, off the request's path.

A file is written beside and renamed: whole or absent. A killed server loses at most what was not
flushed yet; it never leaves a torn file.
"""

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from ferryman.serving.onnx_model import OnnxModel
from ferryman.serving.prediction_log import OWN_COLUMNS, own_fields
from ferryman.serving.rows import ENTITY_KEY, EVENT_TIME, Rows
from ferryman.spec.windows import format_time

FLUSH_SECONDS = 10.0
_CAPACITY = 200_000
_FILE_ROWS = 50_000

logger = logging.getLogger(__name__)


class Entry(NamedTuple):
    """One answered request; `at` is seconds since 1970."""

    request_id: str
    model: OnnxModel
    rows: Rows
    scores: list[float]
    at: float


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
        with self._wake:
            if self._queued + entry.rows.size <= self._capacity:
                self._entries.append(entry)
                before = self._queued
                self._queued += entry.rows.size
                if before < _FILE_ROWS <= self._queued:
                    self._wake.notify_all()
                return
        self._on_drop(entry.rows.size)

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
                self._queued = 0
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
            count = sum(entry.rows.size for entry in group)
            try:
                self._write_model(model, group)
            except Exception:
                # A full disk must not end logging: these rows are lost, and said to be lost.
                logger.exception("%d predictions could not be logged", count)
                self._on_drop(count)

    def _write_model(self, model: OnnxModel, entries: Sequence[Entry]) -> None:
        import pyarrow as pa  # here: 40 MB that a server needs only once it logs
        import pyarrow.compute as pc

        columns = _columns(model, entries)
        table = pa.table(columns, schema=_schema(model))
        days = pa.array([moment.strftime("%Y-%m-%d") for moment in columns["event_time"]])
        for day in sorted(set(days.to_pylist())):
            self._write_file(model.identity.name, day, table.filter(pc.equal(days, day)))

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


def _schema(model: OnnxModel) -> Any:
    import pyarrow as pa

    kinds = {"integer": pa.int64(), "number": pa.float64(), "category": pa.string()}
    features = [pa.field(name, kinds[kind]) for name, kind in model.schema.types.items()]
    return pa.schema(own_fields() + features)


def _columns(model: OnnxModel, entries: Sequence[Entry]) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = {name: [] for name in (*OWN_COLUMNS, *model.schema.names)}
    for entry in entries:
        count = entry.rows.size
        at = datetime.fromtimestamp(entry.at, UTC)
        times = [moment or at for moment in entry.rows.given.get(EVENT_TIME, [None] * count)]
        columns["request_id"].extend([entry.request_id] * count)
        columns["entity_key"].extend(_entity_keys(entry, times))
        columns["event_time"].extend(times)
        columns["version"].extend([model.identity.version] * count)
        columns["epoch"].extend([model.identity.epoch] * count)
        columns["score"].extend(entry.scores)
        columns["logged_at"].extend([at] * count)
        for name in model.schema.names:
            columns[name].extend(_as_logged(entry.rows.columns[name], model.schema.types[name]))
    return columns


def _as_logged(values: list[Any], kind: str) -> list[Any]:
    """Clients may write a whole number as 5.0; the log keeps the declared type."""
    if kind == "integer":
        return [None if value is None else int(value) for value in values]
    if kind == "number":
        return [None if value is None else float(value) for value in values]
    return values


def _entity_keys(entry: Entry, times: Sequence[datetime]) -> list[str]:
    """The given key; else the entity columns and the event time; else the request and the row."""
    count = entry.rows.size
    given = entry.rows.given.get(ENTITY_KEY, [None] * count)
    values = {**entry.rows.columns, **entry.rows.given}
    parts = [values.get(name) for name in entry.model.schema.entity]
    known = bool(parts) and EVENT_TIME in entry.rows.given
    keys = []
    for row in range(count):
        if given[row] is not None:
            keys.append(given[row])
            continue
        cells = [column[row] for column in parts if column is not None]
        if known and len(cells) == len(parts) and None not in cells:
            keys.append("|".join([*map(str, cells), format_time(times[row])]))
        else:
            keys.append(f"{entry.request_id}#{row}")
    return keys
