"""The prediction log's layout, and reading it.

Files are <model>/date=YYYY-MM-DD/*.parquet by event date, UTC, below a folder or in a bucket. A
name begins with the time of writing, in nanoseconds; one that starts with a dot is not finished
yet. A file that took the place of others (see log_upkeep) names them: what it names is not read
again, whether or not it is still there.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ferryman.errors import IntegrityBroken, LostRace
from ferryman.runtime.local_object_store import LocalObjectStore
from ferryman.runtime.object_store import ObjectStore
from ferryman.runtime.score_column import score_field, scores_as
from ferryman.spec.metrics import Task

OWN_COLUMNS = (
    "request_id",
    "entity_key",
    "event_time",
    "model",
    "version",
    "epoch",
    "variant",
    "propensity",
    "score",
    "latency",
    "logged_at",
)
# A feature of one of these names is logged in the place of our own column.
GIVES_WAY = frozenset({"model", "variant", "propensity", "latency"})
COMPACT = "-compact-"
SOURCES = b"ferryman.sources"
_LISTED_DAYS = 40  # more days are found by one listing of the model's whole log
_ATTEMPTS = 5
_SORTED = ("event_time", "entity_key", "logged_at")


def read_predictions(  # noqa: PLR0913  - which rows, and what a score is
    places: Path | Sequence[ObjectStore],
    model: str,
    start: datetime,
    end: datetime,
    *,
    task: Task = "binary",
    classes: Sequence[str] = (),
    columns: Sequence[str] | None = None,
) -> Any:
    """Logged predictions with event time in [start, end), UTC, by event time and entity key.

    `places` is a folder, or the places of runtime.prediction_places; a row that is in two of them
    comes once. Returns a pyarrow Table: OWN_COLUMNS and the logged features of every version in it
    (null where a version had no such column, or one of another kind). `score` is float64, or
    list<float64> in the order of `classes` where the task is multiclass; null in rows that were
    logged for another task or other classes; `latency` is in seconds; `propensity` is how probable
    it was that this `variant` was drawn: 1.0 where nothing was drawn, null in files of servers that
    knew no variants. With `columns` only these are read and returned, of features those that are
    there. Raises DependencyUnavailable (exit 6) when a place is away, IntegrityBroken (exit 7) for
    a damaged file, LostRace (exit 8) when files are merged while they are read, time after time.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    stores = [LocalObjectStore(places)] if isinstance(places, Path) else places
    read = None if columns is None else [*dict.fromkeys([*_SORTED, "score", *columns])]
    found = [pa.schema(own_fields(task, classes)).empty_table()]
    found += [scores_as(table, task, classes) for table in _tables(stores, model, start, end, read)]
    table = pa.concat_tables(_of_one_kind(found), promote_options="permissive")
    times = table["event_time"]
    inside = pc.and_(pc.greater_equal(times, pa.scalar(start)), pc.less(times, pa.scalar(end)))
    rows = table.filter(inside).sort_by([(name, "ascending") for name in _SORTED])
    if columns is None:
        return rows
    return rows.select([name for name in columns if name in rows.column_names])


def own_fields(task: Task = "binary", classes: Sequence[str] = ()) -> list[Any]:
    """The columns that the log writes of itself, as pyarrow fields."""
    import pyarrow as pa

    moment, text, count = pa.timestamp("us", tz="UTC"), pa.string(), pa.int32()
    number = pa.float64()
    types = (text, text, moment, text, count, count, text, number, None, number, moment)
    return [
        score_field(task, classes) if kind is None else pa.field(name, kind)
        for name, kind in zip(OWN_COLUMNS, types, strict=True)
    ]


def file_name(key: str) -> str:
    """The last part of a key."""
    return key.rpartition("/")[2]


def sibling(key: str, name: str) -> str:
    """The key of another file of the same day."""
    return f"{key.rpartition('/')[0]}/{name}"


def stamp_of(key: str) -> int | None:
    """When a file's first rows were logged, in nanoseconds since 1970; None for a foreign name."""
    stamp = file_name(key).partition("-")[0]
    return int(stamp) if stamp.isdigit() and len(stamp) == 19 else None


def sources_of(schema: Any) -> list[str]:
    """The names of the files that a file took the place of."""
    told = (schema.metadata or {}).get(SOURCES)
    return [] if told is None else list(json.loads(told))


def open_table(store: ObjectStore, key: str, columns: Sequence[str] | None = None) -> Any:
    """A file's rows as a pyarrow Table, of the columns that it has; None where it is gone.

    Raises IntegrityBroken (exit 7) where it cannot be read.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    stream = store.open(key)
    if stream is None:
        return None
    with stream:
        try:
            return pq.ParquetFile(stream).read(columns)
        except (pa.ArrowInvalid, pa.ArrowTypeError, OSError) as error:
            raise IntegrityBroken(
                f"a file of the prediction log cannot be read: {key}: {str(error)[:200]}",
                remedy="Restore it, or remove it: its rows are lost.",
            ) from error


def tables_of(
    files: Mapping[str, ObjectStore], columns: Sequence[str] | None = None
) -> list[Any] | None:
    """The rows of files, in the order of writing; of merged ones once.

    None where a file went while it was read: then they are to be listed anew.
    """
    read: dict[str, Any] = {}
    replaced: set[str] = set()
    for key in [key for key in files if COMPACT in key]:
        read[key] = table = open_table(files[key], key, columns)
        if table is None:
            return None
        replaced.update(sibling(key, name) for name in sources_of(table.schema))
    for key in files.keys() - read.keys() - replaced:
        read[key] = open_table(files[key], key, columns)
        if read[key] is None:
            return None
    # By name: names begin with the time of writing.
    return [read[key] for key in sorted(read.keys() - replaced, key=file_name)]


def _tables(
    stores: Sequence[ObjectStore],
    model: str,
    start: datetime,
    end: datetime,
    columns: Sequence[str] | None,
) -> list[Any]:
    """Every file's rows, in the order of writing; read anew when a file goes while it is read."""
    for _ in range(_ATTEMPTS):
        tables = tables_of(_listed(stores, model, start, end), columns)
        if tables is not None:
            return tables
    raise LostRace(f"the prediction log of {model!r} changed {_ATTEMPTS} times while it was read")


def _listed(
    stores: Sequence[ObjectStore], model: str, start: datetime, end: datetime
) -> dict[str, ObjectStore]:
    """Where each file is; what moves from an earlier place to a later one is seen in either."""
    return {
        key: store
        for store in stores
        for key in _keys(store, model, start, end)
        if key.endswith(".parquet")
    }


def _keys(store: ObjectStore, model: str, start: datetime, end: datetime) -> Iterator[str]:
    first, last = start.astimezone(UTC).date(), end.astimezone(UTC).date()
    days = (last - first).days + 1
    if days <= _LISTED_DAYS:
        for place in range(days):
            yield from store.keys(f"{model}/date={first + timedelta(days=place)}")
        return
    for key in store.keys(model):
        date = key.partition("/date=")[2].partition("/")[0]
        if str(first) <= date <= str(last):
            yield key


def _of_one_kind(tables: list[Any]) -> list[Any]:
    """The tables, with nulls where a feature was text and is a number in the newest, or reverse."""
    import pyarrow as pa

    newest = {field.name: field.type for table in tables for field in table.schema}
    found = []
    for table in tables:
        for place, field in enumerate(table.schema):
            if pa.types.is_string(field.type) != pa.types.is_string(newest[field.name]):
                nulls = pa.nulls(table.num_rows, newest[field.name])
                table = table.set_column(place, field.name, nulls)  # noqa: PLW2901
        found.append(table)
    return found
