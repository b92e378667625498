"""The prediction log's layout, and reading it.

Files are <root>/<model>/date=YYYY-MM-DD/*.parquet by event date, UTC; a name that starts with a dot
is not finished yet.
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

OWN_COLUMNS = ("request_id", "entity_key", "event_time", "version", "epoch", "score", "logged_at")


def read_predictions(root: Path, model: str, start: datetime, end: datetime) -> Any:
    """Logged predictions with event time in [start, end), UTC, by event time and entity key.

    Returns a pyarrow Table: request_id, entity_key, event_time, version, epoch, score, logged_at
    and the feature columns of every version in it (null where a version had no such column).
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    first, last = (moment.astimezone(UTC).strftime("%Y-%m-%d") for moment in (start, end))
    tables = [pa.schema(own_fields()).empty_table()]
    for folder in sorted((root / model).glob("date=*")):
        if first <= folder.name.removeprefix("date=") <= last:
            for file in sorted(folder.glob("[!.]*.parquet")):
                tables.append(pq.ParquetFile(file).read())
    table = pa.concat_tables(tables, promote_options="permissive")
    times = table["event_time"]
    inside = pc.and_(pc.greater_equal(times, pa.scalar(start)), pc.less(times, pa.scalar(end)))
    order = [("event_time", "ascending"), ("entity_key", "ascending"), ("logged_at", "ascending")]
    return table.filter(inside).sort_by(order)


def own_fields() -> list[Any]:
    """The columns that the log writes of itself, as pyarrow fields."""
    import pyarrow as pa

    moment = pa.timestamp("us", tz="UTC")
    types = (pa.string(), pa.string(), moment, pa.int32(), pa.int32(), pa.float64(), moment)
    return [pa.field(name, kind) for name, kind in zip(OWN_COLUMNS, types, strict=True)]
