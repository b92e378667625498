"""The labels table of a window: outcomes that became known in it."""

from collections.abc import Mapping
from functools import partial
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
from ferryman.runtime.score_column import label_type
from ferryman.spec.data import LabelSpec
from ferryman.spec.metrics import Task
from ferryman.spec.model import DeclaredModel
from ferryman.spec.training import TrainSpec


def label_schema(task: Task) -> Any:
    """The columns of a labels table: an outcome is a truth value, a class's name, or a number."""
    return pa.schema(
        [
            ("entity_key", pa.string()),
            ("event_time", TIME),
            ("label", label_type(task)),
            ("known_at", TIME),
        ]
    )


def build_labels(
    engine: QueryEngine, model: DeclaredModel, views: Mapping[str, Any], span: ReplayedSpan
) -> Any:
    """Run the model's labels query on the views of a span whose labels are due.

    Columns: entity_key, event_time, label (null: never known), known_at (event time plus
    label.known_after), ordered by event time and key. A label is, by task, a truth value or 0 or 1;
    one of the declared classes; a finite number. Raises SpecError (exit 2) for a wrong query;
    DataRejected (exit 3) for wrong rows, for a label that is none of these, and where more labels
    are null than label.max_unknown allows.
    """
    spec = model.spec
    if spec.data.label.sql is None:
        raise SpecError(f"{spec.name!r} has no labels query", remedy="Declare data.label.sql.")
    file = model.folder / spec.data.label.sql
    raw = engine.run(file, views, {})
    shown = str(file)
    _check_columns(raw, model, shown)
    times = take_times(raw, spec.features.event_time, shown)
    check_times(times, span.read, spec.features.event_time, shown)
    times = shift_times(times, span.shift)
    keys = compose_keys(raw, spec.features.entity, times, shown)
    check_unique(keys, shown)
    name = spec.data.label.name
    label = _outcomes(one_chunk(raw.column(name)), spec.train, keys, f"{shown}: label {name!r}")
    _check_known(label, spec.data.label, span, shown)
    known = shift_times(times, spec.data.label.known_after)
    table = pa.table([keys, times, label, known], schema=label_schema(spec.train.task))
    return table.take(
        pc.sort_indices(table, sort_keys=[("event_time", "ascending"), ("entity_key", "ascending")])
    )


def _outcomes(label: Any, train: TrainSpec, keys: Any, shown: str) -> Any:
    """The label column in the type of the task; null where it will never be known."""
    if pa.types.is_null(label.type):
        return label.cast(label_type(train.task))
    if train.task == "regression":
        return _numbers(label, keys, shown)
    return (_truths if train.task == "binary" else partial(_names, train))(label, keys, shown)


def _truths(label: Any, keys: Any, shown: str) -> Any:
    if pa.types.is_boolean(label.type):
        return label
    if not pa.types.is_integer(label.type):
        raise SpecError(
            f"{shown} is {label.type}, and must be true, false, 1, 0 or null (never known)",
            remedy="Compare it with something, such as `delay > 15`.",
        )
    known = pc.is_in(label, value_set=pa.array([0, 1, None], label.type))
    _refuse(pc.invert(known), label, keys, f"{shown} has an unseen class, neither 0 nor 1,")
    return label.cast(pa.bool_())


def _names(train: TrainSpec, label: Any, keys: Any, shown: str) -> Any:
    if not (pa.types.is_integer(label.type) or pa.types.is_string(label.type)):
        raise SpecError(
            f"{shown} is {label.type}, and must be text, a whole number, or null (never known)",
            remedy="Cast it to what train.classes lists.",
        )
    names = label.cast(pa.string())
    known = pc.is_in(names, value_set=pa.array([*train.classes, None], pa.string()))
    _refuse(pc.invert(known), names, keys, f"{shown} has an unseen class, none of train.classes,")
    return names


def _numbers(label: Any, keys: Any, shown: str) -> Any:
    if not (
        pa.types.is_integer(label.type)
        or pa.types.is_floating(label.type)
        or pa.types.is_decimal(label.type)
    ):
        raise SpecError(
            f"{shown} is {label.type}, and must be a number or null (never known)",
            remedy="Cast it in the query, such as `price::DOUBLE`.",
        )
    numbers = label.cast(pa.float64())
    finite = pc.fill_null(pc.is_finite(numbers), True)
    _refuse(pc.invert(finite), numbers, keys, f"{shown} is no finite number")
    return numbers


def _refuse(strange: Any, label: Any, keys: Any, text: str) -> None:
    """DataRejected (exit 3) that counts the strange labels and names the first."""
    rows = np.flatnonzero(np.asarray(strange))
    if len(rows):
        row = int(rows[0])
        raise DataRejected(
            f"{text} in {len(rows)} of {len(label)} rows, the first in row {row + 1} "
            f"({shorten(keys[row].as_py())[1:-1]}): {str(label[row].as_py())[:60]}",
            remedy="Repair the rows at their source, or say in the query what the label means.",
        )


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
