"""What makes a row of a query an event: its time, and the key that names it."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ferryman.data.rows.column_types import shorten
from ferryman.errors import DataRejected, SpecError
from ferryman.spec.windows import Window, format_time

TIME = pa.timestamp("us", "UTC")
_EPOCH_SEPARATOR = "|"


def take_times(table: Any, name: str, shown: str) -> Any:
    """A column of times as timestamp[us, UTC]; SpecError (exit 2) where it has no zone."""
    column = one_chunk(table.column(name))
    if not pa.types.is_timestamp(column.type) or column.type.tz is None:
        raise SpecError(
            f"{shown}: column {name!r} is {column.type}, and must be a time with a zone",
            remedy="Use TIMESTAMP WITH TIME ZONE, as the sources' times are.",
        )
    return column.cast(TIME, safe=False)


def shift_times(times: Any, by: timedelta) -> Any:
    """Times moved by whole days, for a replayed window."""
    if not by:
        return times
    moved = pc.add(times.cast(pa.int64()), by // timedelta(microseconds=1))
    return moved.cast(TIME)


def check_times(times: Any, span: Window, name: str, shown: str) -> None:
    """Every event lies in the span that the query was asked for, and has a time."""
    outside = pc.or_(
        pc.less(times, pa.scalar(span.start, TIME)),
        pc.greater_equal(times, pa.scalar(span.end, TIME)),
    )
    rows = np.flatnonzero(np.asarray(pc.fill_null(outside, True)))
    if len(rows):
        found = times[int(rows[0])].as_py()
        value = "null" if found is None else format_time(found)
        raise DataRejected(
            f"{shown}: {len(rows)} rows have {name!r} outside of {span}, the first in row "
            f"{rows[0] + 1}: {value}"
        )


def compose_keys(table: Any, entity: Sequence[str], times: Any, shown: str) -> Any:
    """`a|b|2013-01-01T10:15:00Z` for each row; null in an entity column is DataRejected."""
    parts = []
    for name in entity:
        column = one_chunk(table.column(name))
        if column.null_count:
            row = int(np.flatnonzero(np.asarray(pc.is_null(column)))[0])
            raise DataRejected(
                f"{shown}: entity column {name!r} is null in {column.null_count} rows, the first "
                f"in row {row + 1}: such an event has no name"
            )
        parts.append(column.cast(pa.string()))
    return pc.binary_join_element_wise(*parts, _texts_of(times), _EPOCH_SEPARATOR)


def check_unique(keys: Any, shown: str) -> None:
    """Each event once; DataRejected (exit 3) with the first one that is there twice."""
    counts = pc.value_counts(keys)
    twice = counts.filter(pc.greater(counts.field("counts"), 1))
    if len(twice):
        first = twice[0].as_py()
        rows = np.flatnonzero(np.asarray(pc.equal(keys, first["values"])))[:2] + 1
        raise DataRejected(
            f"{shown}: {len(twice)} events stand more than once, the first {first['counts']} "
            f"times (rows {rows[0]} and {rows[1]}): {shorten(first['values'])}",
            remedy="Remove the duplicate rows at their source, or let the query choose one.",
        )


def one_chunk(column: Any) -> Any:
    """A chunked column as one array."""
    return column.combine_chunks()


def _texts_of(times: Any) -> Any:
    """ISO 8601 with a Z, as `format_time` writes it; the few different times are written once."""
    encoded = times.dictionary_encode()
    texts = pa.array(
        [format_time(moment) for moment in encoded.dictionary.to_pylist()], pa.string()
    )
    return texts.take(encoded.indices)
