"""The labels table of a window: outcomes that became known in it."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ferryman.data.rows.column_types import shorten
from ferryman.data.windows.events import (
    TIME,
    check_times,
    check_unique,
    compose_keys,
    one_chunk,
    shift_times,
    take_times,
)
from ferryman.data.windows.query import QueryEngine
from ferryman.data.windows.replay_calendar import ReplayedSpan
from ferryman.errors import DataRejected, SpecError
from ferryman.spec.data import LabelSpec
from ferryman.spec.model import DeclaredModel

SCHEMA = pa.schema(
    [("entity_key", pa.string()), ("event_time", TIME), ("label", pa.bool_()), ("known_at", TIME)]
)


def build_labels(
    engine: QueryEngine, model: DeclaredModel, views: Mapping[str, Any], span: ReplayedSpan
) -> Any:
    """Run the model's labels query on the views of a span whose labels are due.

    Columns: entity_key, event_time, label (null: never known), known_at (event time plus
    label.known_after), ordered by event time and key. A label is a truth value, or 0 or 1. Raises
    SpecError (exit 2) for a wrong query; DataRejected (exit 3) for wrong rows, for a class that is
    neither, and where more labels are null than label.max_unknown allows.
    """
    spec = model.spec
    file = model.folder / spec.data.label.sql
    raw = engine.run(file, views, {})
    shown = str(file)
    _check_columns(raw, model, shown)
    times = take_times(raw, spec.features.event_time, shown)
    check_times(times, span.read, spec.features.event_time, shown)
    times = shift_times(times, span.shift)
    keys = compose_keys(raw, spec.features.entity, times, shown)
    check_unique(keys, shown)
    label = _truths(one_chunk(raw.column(spec.data.label.name)), spec.data.label.name, keys, shown)
    _check_known(label, spec.data.label, span, shown)
    known = shift_times(times, spec.data.label.known_after)
    table = pa.table([keys, times, label, known], schema=SCHEMA)
    return table.take(
        pc.sort_indices(table, sort_keys=[("event_time", "ascending"), ("entity_key", "ascending")])
    )


def _truths(label: Any, name: str, keys: Any, shown: str) -> Any:
    """The label column as true, false or null."""
    if pa.types.is_boolean(label.type):
        return label
    if pa.types.is_null(label.type):
        return label.cast(pa.bool_())
    if not pa.types.is_integer(label.type):
        raise SpecError(
            f"{shown}: label {name!r} is {label.type}, and must be true, false, 1, 0 or null "
            "(never known)",
            remedy="Compare it with something, such as `delay > 15`.",
        )
    strange = pc.invert(pc.is_in(label, value_set=pa.array([0, 1, None], label.type)))
    rows = np.flatnonzero(np.asarray(strange))
    if len(rows):
        row = int(rows[0])
        raise DataRejected(
            f"{shown}: label {name!r} has an unseen class, neither 0 nor 1, in {len(rows)} of "
            f"{len(label)} rows, the first in row {row + 1} ({shorten(keys[row].as_py())[1:-1]}): "
            f"{label[row].as_py()}",
            remedy="Repair the rows at their source, or say in the query what the class means.",
        )
    return label.cast(pa.bool_())


def _check_known(label: Any, spec: LabelSpec, span: ReplayedSpan, shown: str) -> None:
    """Not more labels may be null than declared: they would be missing without a word."""
    if not len(label) or label.null_count / len(label) <= spec.max_unknown:
        return
    raise DataRejected(
        f"{shown}: label {spec.name!r} is null for {label.null_count} of {len(label)} events of "
        f"{span.read}: more than the share {spec.max_unknown:g} that label.max_unknown allows",
        remedy="Deliver the outcomes, or declare a larger label.max_unknown if so many never come.",
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
