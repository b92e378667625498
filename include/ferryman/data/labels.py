"""The labels table of a window: outcomes that became known in it."""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ferryman.data.column_types import shorten
from ferryman.data.events import (
    TIME,
    check_times,
    check_unique,
    compose_keys,
    one_chunk,
    shift_times,
    take_times,
)
from ferryman.data.query import QueryEngine
from ferryman.data.replay_calendar import ReplayedSpan
from ferryman.errors import SpecError
from ferryman.spec.model import DeclaredModel

SCHEMA = pa.schema(
    [("entity_key", pa.string()), ("event_time", TIME), ("label", pa.bool_()), ("known_at", TIME)]
)


def build_labels(
    engine: QueryEngine, model: DeclaredModel, views: Mapping[str, Any], span: ReplayedSpan
) -> Any:
    """Run the model's labels query on the views of a span whose labels are due.

    Columns: entity_key, event_time, label (null: never known), known_at (event time plus
    label.known_after), ordered by event time and key. Raises SpecError (exit 2) for a wrong query,
    DataRejected (exit 3) for wrong rows.
    """
    spec = model.spec
    file = model.folder / spec.data.label.sql
    raw = engine.run(file, views, {})
    shown = str(file)
    _check_columns(raw, model, shown)
    label = one_chunk(raw.column(spec.data.label.name))
    if pa.types.is_null(label.type):
        label = label.cast(pa.bool_())
    if not pa.types.is_boolean(label.type):
        raise SpecError(
            f"{shown}: label {spec.data.label.name!r} is {label.type}, and must be true, false or "
            "null (never known)",
            remedy="Compare it with something, such as `delay > 15`.",
        )
    times = take_times(raw, spec.features.event_time, shown)
    check_times(times, span.read, spec.features.event_time, shown)
    times = shift_times(times, span.shift)
    keys = compose_keys(raw, spec.features.entity, times, shown)
    check_unique(keys, shown)
    known = shift_times(times, spec.data.label.known_after)
    table = pa.table([keys, times, label, known], schema=SCHEMA)
    return table.take(
        pc.sort_indices(table, sort_keys=[("event_time", "ascending"), ("entity_key", "ascending")])
    )


def _check_columns(raw: Any, model: DeclaredModel, shown: str) -> None:
    spec = model.spec
    wanted = [spec.features.event_time, *spec.features.entity, spec.data.label.name]
    for name in wanted:
        if name not in raw.column_names:
            raise SpecError(f"{shown}: the query gives no column {name!r}")
    for name in raw.column_names:
        if name not in wanted or raw.column_names.count(name) > 1:
            raise SpecError(f"{shown}: the query gives a column {shorten(name)} too many")
