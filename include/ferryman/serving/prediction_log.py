"""The prediction log's layout, and reading it.

Files are <root>/<model>/date=YYYY-MM-DD/*.parquet by event date, UTC; a name that starts with a dot
is not finished yet.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ferryman.runtime.score_column import score_field, scores_as
from ferryman.spec.metrics import Task

OWN_COLUMNS = ("request_id", "entity_key", "event_time", "version", "epoch", "score", "logged_at")


def read_predictions(  # noqa: PLR0913  - which rows, and what a score is
    root: Path,
    model: str,
    start: datetime,
    end: datetime,
    *,
    task: Task = "binary",
    classes: Sequence[str] = (),
) -> Any:
    """Logged predictions with event time in [start, end), UTC, by event time and entity key.

    Returns a pyarrow Table: request_id, entity_key, event_time, version, epoch, score, logged_at
    and the feature columns of every version in it (null where a version had no such column, or
    one of another kind). `score` is float64, or list<float64> in the order of `classes` where the
    task is multiclass; null in rows that were logged for another task or other classes.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    first, last = (moment.astimezone(UTC).strftime("%Y-%m-%d") for moment in (start, end))
    tables = [pa.schema(own_fields(task, classes)).empty_table()]
    files = [
        file
        for folder in (root / model).glob("date=*")
        if first <= folder.name.removeprefix("date=") <= last
        for file in folder.glob("[!.]*.parquet")
    ]
    for file in sorted(files, key=lambda file: file.name):  # names begin with the time of writing
        tables.append(scores_as(pq.ParquetFile(file).read(), task, classes))
    table = pa.concat_tables(_of_one_kind(tables), promote_options="permissive")
    times = table["event_time"]
    inside = pc.and_(pc.greater_equal(times, pa.scalar(start)), pc.less(times, pa.scalar(end)))
    order = [("event_time", "ascending"), ("entity_key", "ascending"), ("logged_at", "ascending")]
    return table.filter(inside).sort_by(order)


def own_fields(task: Task = "binary", classes: Sequence[str] = ()) -> list[Any]:
    """The columns that the log writes of itself, as pyarrow fields."""
    import pyarrow as pa

    moment = pa.timestamp("us", tz="UTC")
    types = (pa.string(), pa.string(), moment, pa.int32(), pa.int32(), None, moment)
    return [
        score_field(task, classes) if kind is None else pa.field(name, kind)
        for name, kind in zip(OWN_COLUMNS, types, strict=True)
    ]


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
