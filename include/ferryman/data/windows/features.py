"""The features table of a window: one row an event, typed as declared, known in time."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ferryman.data.rows.column_types import shorten
from ferryman.data.windows.events import (
    check_times,
    check_unique,
    compose_keys,
    one_chunk,
    shift_times,
    take_times,
)
from ferryman.data.windows.late_values import late_values, refuse_late_values
from ferryman.data.windows.query import QueryEngine
from ferryman.data.windows.replay_calendar import ReplayedSpan
from ferryman.errors import DataRejected, SpecError
from ferryman.spec.data import FeaturesSpec, FeatureType
from ferryman.spec.mistakes import nearest
from ferryman.spec.model import DeclaredModel

KEY, EVENT_TIME = "entity_key", "event_time"
_TYPES: Mapping[FeatureType, Any] = {
    "integer": pa.int64(),
    "number": pa.float64(),
    "category": pa.string(),
}


@dataclass(frozen=True)
class Features:
    """The features table of a span, and what of it became known too late, where that is accepted.

    Columns of the table, whose rows are ordered by event time and key: entity_key (string),
    event_time (timestamp[us, UTC]), the declared features (integer int64, number float64, category
    string; null only where nullable), and the entity columns that are no features, as text: a split
    may go by them. Times are those asked for.
    """

    table: Any
    late: tuple[str, ...] = ()


def build_features(  # noqa: PLR0913  - a query, what it runs on, and what is allowed
    engine: QueryEngine,
    model: DeclaredModel,
    views: Mapping[str, Any],
    later: Mapping[str, str],
    span: ReplayedSpan,
    *,
    accept_late: bool = False,
) -> Features:
    """Run the model's features query on a span's views.

    Raises SpecError (exit 2) for a wrong query, DataRejected (exit 3) for wrong rows, and
    GateRefused (exit 4) where a value became known after its event and that is not accepted.
    """
    file = model.folder / model.spec.features.sql
    features = _shape(engine.run(file, views, later), model.spec.features, span, str(file))
    if not accept_late:
        refuse_late_values(list(features.late), str(file))
    return features


def _shape(raw: Any, spec: FeaturesSpec, span: ReplayedSpan, shown: str) -> Features:
    _check_columns(raw, spec, shown)
    if raw.num_rows == 0:
        raise DataRejected(f"{shown}: the query gives no row for {span.read}")
    times = take_times(raw, spec.event_time, shown)
    check_times(times, span.read, spec.event_time, shown)
    moved = shift_times(times, span.shift)
    keys = compose_keys(raw, spec.entity, moved, shown)
    order = pc.sort_indices(
        pa.table({EVENT_TIME: moved, KEY: keys}),
        sort_keys=[(EVENT_TIME, "ascending"), (KEY, "ascending")],
    )
    raw, times, moved, keys = (part.take(order) for part in (raw, times, moved, keys))
    check_unique(keys, shown)
    columns = {
        name: _typed(one_chunk(raw.column(name)), name, feature.type, shown)
        for name, feature in spec.columns.items()
    }
    _refuse_nulls(columns, keys, spec, shown)
    table = pa.table({KEY: keys, EVENT_TIME: moved, **columns, **_entity_texts(raw, spec)})
    return Features(table, tuple(late_values(raw, table, spec, times, shown)))


def _refuse_nulls(columns: Mapping[str, Any], keys: Any, spec: FeaturesSpec, shown: str) -> None:
    """DataRejected (exit 3) where a feature that no row may lack is null, with the first row.

    An empty text counts as null: inside a model it is the same.
    """
    for name, column in columns.items():
        if spec.columns[name].nullable:
            continue
        text = spec.columns[name].type == "category"
        lacking = pc.equal(pc.fill_null(column, ""), "") if text else column.is_null()
        rows = np.flatnonzero(np.asarray(lacking))
        if not len(rows):
            continue
        raise DataRejected(
            f"{shown}: column {name!r} is null in {len(rows)} of {len(column)} rows, the first in "
            f"row {rows[0] + 1} ({shorten(keys[int(rows[0])].as_py())[1:-1]}), and is declared "
            "nullable: false",
            remedy="Repair the rows at their source, fill the value in the query, or allow null "
            f"in features.columns.{name}.",
        )


def _entity_texts(raw: Any, spec: FeaturesSpec) -> dict[str, Any]:
    """The entity columns that are no features; they cannot be read off the key, whose separator
    may stand inside a value.
    """
    taken = {KEY, EVENT_TIME, *spec.columns}
    names = [name for name in spec.entity if name not in taken]
    return {name: one_chunk(raw.column(name)).cast(pa.string()) for name in names}


def _check_columns(raw: Any, spec: FeaturesSpec, shown: str) -> None:
    """The query gives the declared columns, and no other."""
    known_at = [f.known_at for f in spec.columns.values() if f.known_at is not None]
    wanted = list(dict.fromkeys([spec.event_time, *spec.entity, *spec.columns, *known_at]))
    given = list(raw.column_names)
    for name in wanted:
        if name not in given:
            meant = nearest(name, [other for other in given if other not in wanted])
            hint = f"; did you mean its column {meant!r}?" if meant else ""
            raise SpecError(f"{shown}: the query gives no column {name!r}{hint}")
    for name in given:
        if name not in wanted or given.count(name) > 1:
            text = "twice" if name in wanted else "that is declared nowhere"
            raise SpecError(
                f"{shown}: the query gives a column {shorten(name)} {text}",
                remedy="Declare it under features.columns, or leave it out of the query.",
            )


def _typed(column: Any, name: str, kind: FeatureType, shown: str) -> Any:
    """A feature column in its declared type."""
    stored = column.type
    if pa.types.is_dictionary(stored):
        column, stored = column.cast(stored.value_type), stored.value_type
    if pa.types.is_null(stored):
        return pa.nulls(len(column), _TYPES[kind])
    if not _fits(stored, kind):
        raise SpecError(
            f"{shown}: column {name!r} is {stored}, and is declared {kind}",
            remedy="Cast it in the query, or declare its type.",
        )
    try:
        typed = column.cast(_TYPES[kind], safe=kind != "number")
    except pa.ArrowInvalid as error:
        raise DataRejected(f"{shown}: column {name!r}: {str(error)[:200]}") from error
    if kind != "number":
        return typed
    typed = pc.if_else(pc.is_nan(typed), pa.scalar(None, pa.float64()), typed)
    infinite = np.flatnonzero(np.asarray(pc.fill_null(pc.is_inf(typed), False)))
    if len(infinite):
        raise DataRejected(
            f"{shown}: column {name!r} is infinite in {len(infinite)} rows, the first in row "
            f"{infinite[0] + 1}"
        )
    return typed


def _fits(stored: Any, kind: FeatureType) -> bool:
    if kind == "category":
        return bool(pa.types.is_string(stored) or pa.types.is_large_string(stored))
    # DuckDB's sums of integers are decimals without a fraction.
    whole = pa.types.is_integer(stored) or pa.types.is_boolean(stored)
    if pa.types.is_decimal(stored):
        return kind == "number" or stored.scale == 0
    return bool(whole or (kind == "number" and pa.types.is_floating(stored)))
