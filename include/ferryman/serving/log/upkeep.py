"""Upkeep of the prediction log and of posted labels: finished days in few files, none too old.

Servers write a file a minute. Files of a finished day are merged: the merged file names those that
it took the place of, and readers pass over what is so named; so no row is ever read twice or not at
all, wherever the merging is killed. A file holds rows that were logged on one day: what must go
after a time goes by whole files, however late its events were predicted. `days` says how the
folders of days begin, below the model's: those of the log, or those of labels.
"""

import fcntl
import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ferryman.runtime.files import SCRATCH
from ferryman.runtime.object_store import ObjectStore
from ferryman.serving.log.prediction_log import (
    COMPACT,
    SOURCES,
    file_name,
    open_table,
    sibling,
    sources_of,
    stamp_of,
)

DAYS = "date="  # of the prediction log, by the day of events

_LOCK = ".upkeep.lock"
_SETTLED = timedelta(hours=1)
_LARGEST_ROWS = 250_000
_DAY_NANOSECONDS = 86_400 * 10**9

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class OutdatedDay:
    """Files of one day, below `folder`, that hold what was logged too long ago."""

    folder: str
    keys: tuple[str, ...]


@dataclass
class _Part:
    """Files that become one: of one schema, logged on one day."""

    keys: list[str] = field(default_factory=list)
    tables: list[Any] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)
    rows: int = 0

    def add(self, key: str, table: Any) -> None:
        self.keys.append(key)
        self.sources += [file_name(key), *sources_of(table.schema)]
        self.tables.append(_bare(table))
        self.rows += table.num_rows


def find_outdated(
    store: ObjectStore, model: str, before: datetime, days: str = DAYS
) -> list[OutdatedDay]:
    """Files whose rows were all logged before a moment, by day; foreign files never."""
    limit = int(before.timestamp() * 10**9)
    found: dict[str, list[str]] = {}
    for key in _parquet(store, model, days):
        stamp = stamp_of(key)
        if stamp is not None and stamp < limit:
            found.setdefault(key.rpartition("/")[0], []).append(key)
    return [OutdatedDay(folder, tuple(keys)) for folder, keys in sorted(found.items())]


def compact(store: ObjectStore, model: str, now: datetime, days: str = DAYS) -> int:
    """Merge the files of each finished day; how many files went. To be run by one at a time.

    What a killed run had merged and not removed is removed first.
    """
    found: dict[str, list[str]] = {}
    for key in _parquet(store, model, days):
        if _is_finished(key, days, now) and stamp_of(key) is not None:
            found.setdefault(key.rpartition("/")[0], []).append(key)
    settled = int((now - _SETTLED).timestamp() * 10**9)
    return sum(_compact_day(store, keys, settled) for _, keys in sorted(found.items()))


@contextmanager
def upkeep_lock(root: Path) -> Iterator[bool]:
    """Whether this process alone keeps the log of an installation in order, for the block."""
    root.mkdir(parents=True, exist_ok=True)
    handle = os.open(root / _LOCK, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(handle)


def _parquet(store: ObjectStore, model: str, days: str) -> list[str]:
    start = f"{model}/{days}"
    below = store.keys(start.rpartition("/")[0])
    return [key for key in below if key.startswith(start) and key.endswith(".parquet")]


def _is_finished(key: str, days: str, now: datetime) -> bool:
    date = key.partition(f"/{days}")[2].partition("/")[0]
    end = datetime.fromisoformat(date).replace(tzinfo=UTC) + timedelta(days=1)
    return end + _SETTLED <= now


def _compact_day(store: ObjectStore, keys: Sequence[str], settled: int) -> int:
    """Merge the files of one day that were begun before a moment."""
    merged = [key for key in keys if COMPACT in key]
    if len(keys) < 2:
        return 0
    replaced: set[str] = set()
    for key in merged:
        table = open_table(store, key)
        if table is not None:
            replaced.update(sibling(key, name) for name in sources_of(table.schema))
    left = [key for key in keys if key in replaced]
    for key in left:
        store.delete(key)
    parts: dict[tuple[int, bytes], _Part] = {}
    gone = len(left)
    for key in sorted(set(keys) - replaced, key=file_name):
        stamp = stamp_of(key) or 0
        table = open_table(store, key) if stamp < settled else None
        if table is None:
            continue
        kind = (stamp // _DAY_NANOSECONDS, _bare(table).schema.serialize().to_pybytes())
        part = parts.setdefault(kind, _Part())
        if part.keys and part.rows + table.num_rows > _LARGEST_ROWS:
            gone += _merge(store, part)
            parts[kind] = part = _Part()
        part.add(key, table)
    return gone + sum(_merge(store, part) for part in parts.values())


def _merge(store: ObjectStore, part: _Part) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if len(part.keys) < 2:
        return 0
    table = pa.concat_tables(part.tables)
    told = {**(table.schema.metadata or {}), SOURCES: json.dumps(part.sources).encode()}
    last = part.keys[-1]
    content = hashlib.sha256("\n".join(sorted(part.sources)).encode()).hexdigest()
    key = sibling(last, f"{stamp_of(last)}{COMPACT}{content[:16]}.parquet")
    with tempfile.TemporaryDirectory(prefix=SCRATCH) as scratch:
        file = Path(scratch) / "merged.parquet"
        pq.write_table(
            table.replace_schema_metadata(told), file, compression="zstd", row_group_size=131_072
        )
        store.create(key, file)
    for source in part.keys:
        store.delete(source)
    logger.info("%d files of %s merged", len(part.keys), key.rpartition("/")[0])
    return len(part.keys)


def _bare(table: Any) -> Any:
    """The table without the names of what it took the place of."""
    told = {key: value for key, value in (table.schema.metadata or {}).items() if key != SOURCES}
    return table.replace_schema_metadata(told)
