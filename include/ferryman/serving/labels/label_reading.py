"""Reads the labels that clients posted, and counts what a span of time has of them."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from ferryman.errors import LostRace
from ferryman.runtime.object_store import ObjectStore
from ferryman.serving.labels.label_files import DAYS, posted_schema
from ferryman.serving.log.prediction_log import COMPACT, file_name, sources_of, tables_of
from ferryman.spec.metrics import Task
from ferryman.spec.windows import Window

_ATTEMPTS = 5


def read_posted(
    places: Sequence[ObjectStore], model: str, window: Window, task: Task
) -> tuple[Any, int]:
    """The labels that came within a window, oldest first, and how many were of another task.

    `places` are those of runtime.prediction_places; a file that is in two of them is read once.
    Columns: those of label_files.posted_schema. Rows of a request that came again with the same id
    and content are left out. Raises DependencyUnavailable (exit 6) when a place is away,
    IntegrityBroken (exit 7) for a damaged file.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    schema = posted_schema(task)
    tables, strange = [schema.empty_table()], 0
    for table in _tables(places, model, window):
        times = table["received_at"]
        inside = pc.and_(
            pc.greater_equal(times, pa.scalar(window.start)),
            pc.less(times, pa.scalar(window.end)),
        )
        rows = table.filter(inside)
        if rows.schema.field("label").type == schema.field("label").type:
            tables.append(rows.select(schema.names).cast(schema))
        else:
            strange += rows.num_rows
    found = pa.concat_tables(tables).sort_by(
        [(name, "ascending") for name in ("received_at", "entity_key", "request_id")]
    )
    return _first_posts(found), strange


def label_files(places: Sequence[ObjectStore], model: str, window: Window) -> list[str]:
    """The names of the files that may hold labels which came within a window, sorted.

    They are those that servers wrote: of a file that took the place of others, the others' names.
    """
    import pyarrow.parquet as pq

    names: set[str] = set()
    for store, key in _keys(places, model, window):
        if COMPACT not in key:
            names.add(file_name(key))
            continue
        stream = store.open(key)
        if stream is None:  # merged again just now: the next look sees it
            continue
        with stream:
            names.update(sources_of(pq.ParquetFile(stream).schema_arrow))
    return sorted(name for name in names if COMPACT not in name)


def _tables(places: Sequence[ObjectStore], model: str, window: Window) -> list[Any]:
    """Every file's rows; read anew where a file moves, or is merged, while it is read."""
    for _ in range(_ATTEMPTS):
        tables = tables_of({key: store for store, key in _keys(places, model, window)})
        if tables is not None:
            return tables
    raise LostRace(f"the labels of {model!r} moved {_ATTEMPTS} times while they were read")


def _keys(
    places: Sequence[ObjectStore], model: str, window: Window
) -> list[tuple[ObjectStore, str]]:
    """Where each file is; what moves from an earlier place to a later one is seen in either."""
    day, last = window.start.astimezone(UTC).date(), window.end.astimezone(UTC)
    found: dict[str, ObjectStore] = {}
    while datetime(day.year, day.month, day.day, tzinfo=UTC) < last:
        for store in places:
            for key in store.keys(f"{model}/{DAYS}{day}"):
                if key.endswith(".parquet"):
                    found[key] = store
        day += timedelta(days=1)
    return [(found[key], key) for key in sorted(found)]


def _first_posts(rows: Any) -> Any:
    """Without the rows of requests that came again: a retry is no newer than what it repeats."""
    import numpy as np

    if rows["post"].null_count == rows.num_rows:
        return rows
    posts, times = rows["post"].to_pylist(), rows["received_at"].to_pylist()
    first: dict[str, datetime] = {}
    for post, moment in zip(posts, times, strict=True):
        if post is not None:
            first.setdefault(post, moment)
    kept = [
        post is None or first[post] == moment for post, moment in zip(posts, times, strict=True)
    ]
    return rows.filter(np.array(kept))
