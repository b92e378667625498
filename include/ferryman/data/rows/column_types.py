"""Declared types, applied to raw columns: what fits is converted, what does not is a fault.

In CSV an empty cell is null, whatever the type; nothing else is: "NA" is a category like any other,
and a fault in a number column. In Parquet null is null, and NaN in a number column is null too.
Times must carry their zone, or the column must declare it; they become UTC. Whole numbers stored as
floating point are accepted where every one is whole. Infinity is a fault.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ferryman.data.rows.local_times import place_times
from ferryman.spec.sources import ColumnSpec, ColumnType

# How cells come in: all as text (CSV); in types of their own (Parquet, SQL); or so, but for times,
# which are text (JSON, SQLite).
CellForm = Literal["text", "typed", "json"]
ARROW_TYPES: Mapping[ColumnType, Any] = {
    "integer": pa.int64(),
    "number": pa.float64(),
    "category": pa.string(),
    "text": pa.string(),
    "boolean": pa.bool_(),
    "timestamp": pa.timestamp("us", "UTC"),
}
_SHOWN_CHARACTERS = 60
_FIRST_TIME, _LAST_TIME = -62_135_596_800_000_000, 253_402_300_799_999_999  # microseconds
# As exact as a pattern can be: what passes and cannot be cast after all is sought one by one.
_DATE = (
    r"[0-9]{4}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)"
    r"|02-(0[1-9]|[12][0-9]))"
)
_TIME = r"([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\.[0-9]{1,6})?)?"
_CLOCK = rf"^{_DATE}[T ]{_TIME}"
_TEXT_RULES: Mapping[str, tuple[str, str]] = {
    "integer": (r"^-?0*[0-9]{1,19}$", "is no whole number of 64 bits"),
    "number": (r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$", "is no finite number"),
    "boolean": (r"^(?i:true|false)$", "is neither true nor false"),
    "timestamp": (
        rf"{_CLOCK}(Z|[+-]([01][0-9]|2[0-3])(:?[0-5][0-9])?)$",
        "is no time with a zone, such as 2013-01-31T09:05:00Z",
    ),
}
_NO_TIME = "is no time, such as 2013-01-31T09:05:00"


@dataclass(frozen=True)
class Fault:
    """Cells of one column that are not what was declared.

    `rows` are positions in the table, ascending; `whole` says that the column as such is wrong, so
    that dropping rows cannot mend it.
    """

    column: str
    rows: Any
    why: str
    example: str
    whole: bool = False


def shorten(value: object) -> str:
    """A value as it is shown in a message: quoted, of bounded length, on one line."""
    text = value if isinstance(value, str) else str(value)
    cut = text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "..."
    return repr(cut) if isinstance(value, str) else cut


def type_table(
    raw: Any, columns: Mapping[str, ColumnSpec], *, form: CellForm
) -> tuple[Any, list[Fault]]:
    """Convert a raw pyarrow Table to the declared types; return it with every fault.

    Faulty cells are null in the result. Whether null is allowed is judged elsewhere.
    """
    arrays, faults = [], []
    for name, column in columns.items():
        array, found = type_column(one_chunk(raw.column(name)), name, column, form=form)
        arrays.append(array)
        faults.extend(found)
    return pa.table(dict(zip(columns, arrays, strict=True))), faults


def type_column(
    raw: Any, name: str, column: ColumnSpec, *, form: CellForm
) -> tuple[Any, list[Fault]]:
    """Convert one raw array to its declared type; faulty cells become null and are listed."""
    if form == "text":
        raw = pc.if_else(pc.equal(raw, ""), pa.scalar(None, pa.string()), raw)
        return _from_text(raw, name, column)
    raw = _plain(raw)
    if form == "json" and column.type == "timestamp" and pa.types.is_string(raw.type):
        return _from_text(raw, name, column)
    return _from_typed(raw, name, column)


def _from_text(raw: Any, name: str, column: ColumnSpec) -> tuple[Any, list[Fault]]:
    """Parse text cells; null stays null."""
    kind = column.type
    if kind in ("category", "text"):
        return raw, []
    pattern, why = _TEXT_RULES[kind]
    fits = pc.match_substring_regex(raw, pattern)
    clean = pc.if_else(fits, raw, pa.scalar(None, pa.string()))
    typed = _cast_where_possible(clean, ARROW_TYPES[kind])
    if kind == "number":
        typed = pc.if_else(pc.is_finite(typed), typed, pa.scalar(None, pa.float64()))
    elif kind == "timestamp":
        typed = _writable(typed)
        if column.zone is not None and raw.null_count < typed.null_count:
            return _with_local_times(raw, typed, name, column.zone)
    return typed, _lost(raw, typed, name, why)


def _with_local_times(raw: Any, typed: Any, name: str, zone: str) -> tuple[Any, list[Fault]]:
    """Text cells without a zone are times of the column's; `typed` holds those with one."""
    local = pc.match_substring_regex(raw, _CLOCK + "$")
    clean = pc.if_else(local, raw, pa.scalar(None, pa.string()))
    naive = _cast_where_possible(clean, pa.timestamp("us"))
    placed, misplaced = _placed(naive, raw, name, zone)
    no_time = pc.and_(pc.is_valid(raw), pc.and_(pc.is_null(naive), pc.is_null(typed)))
    return pc.coalesce(typed, placed), [*_faults_at(no_time, raw, name, _NO_TIME), *misplaced]


def _placed(naive: Any, raw: Any, name: str, zone: str) -> tuple[Any, list[Fault]]:
    times, ambiguous, missing = place_times(naive, zone)
    faults = [
        *_faults_at(ambiguous, raw, name, f"stands twice on the clock of {zone}"),
        *_faults_at(missing, raw, name, f"does not exist on the clock of {zone}"),
    ]
    return _writable(times), faults


def _from_typed(raw: Any, name: str, column: ColumnSpec) -> tuple[Any, list[Fault]]:
    """Convert a typed column; a physical type that cannot hold the declared one is a fault."""
    kind = column.type
    convert = _CONVERSIONS[kind]
    if pa.types.is_null(raw.type):
        return pa.nulls(len(raw), ARROW_TYPES[kind]), []
    if column.zone is not None and pa.types.is_timestamp(raw.type) and raw.type.tz is None:
        naive = _cast_where_possible(_to_microseconds(raw), pa.timestamp("us"))
        placed, faults = _placed(naive, raw, name, column.zone)
        return placed, [*_lost(raw, naive, name, f"is {MEANING[kind]}"), *faults]
    typed = convert(raw)
    if typed is None:
        return pa.nulls(len(raw), ARROW_TYPES[kind]), [_wrong_type(raw, name, column)]
    return typed, _lost(raw, typed, name, f"is {MEANING[kind]}")


def _wrong_type(raw: Any, name: str, column: ColumnSpec) -> Fault:
    """Stored as another type: point at the first cell that could not be meant, if it is text."""
    kind = column.type
    zone = " without a time zone" if pa.types.is_timestamp(raw.type) else ""
    why = f"is stored as {raw.type}{zone}, but is declared {kind}"
    rows = np.arange(len(raw))
    if pa.types.is_string(raw.type) and kind in _TEXT_RULES:
        _, unreadable = _from_text(raw, name, column)
        rows = unreadable[0].rows if unreadable else rows
    example = show_cell(raw[int(rows[0])]) if len(rows) else "no row"
    return Fault(name, rows, why, example, whole=True)


def _integers(raw: Any) -> Any:
    if pa.types.is_integer(raw.type):
        return _cast_where_possible(raw, pa.int64())
    if not pa.types.is_floating(raw.type):
        return None
    whole = pc.and_(pc.equal(raw, pc.floor(raw)), pc.less(pc.abs(raw), 2.0**63))
    return pc.if_else(whole, raw, pa.scalar(None, raw.type)).cast(pa.int64())


def _numbers(raw: Any) -> Any:
    if pa.types.is_integer(raw.type):
        return raw.cast(pa.float64(), safe=False)
    if pa.types.is_decimal(raw.type):
        return raw.cast(pa.float64())
    if not pa.types.is_floating(raw.type):
        return None
    values = raw.cast(pa.float64())
    return pc.if_else(pc.is_finite(values), values, pa.scalar(None, pa.float64()))


def _texts(raw: Any) -> Any:
    kind = raw.type
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return raw.cast(pa.string())
    return raw if pa.types.is_string(kind) else None


def _booleans(raw: Any) -> Any:
    return raw if pa.types.is_boolean(raw.type) else None


def _times(raw: Any) -> Any:
    if not pa.types.is_timestamp(raw.type) or raw.type.tz is None:
        return None
    return _writable(_cast_where_possible(_to_microseconds(raw), ARROW_TYPES["timestamp"]))


def _to_microseconds(raw: Any) -> Any:
    return pc.floor_temporal(raw, unit="microsecond") if raw.type.unit == "ns" else raw


def _writable(times: Any) -> Any:
    """Times of the years 1 to 9999: others can be neither written down nor compared."""
    values = times.cast(pa.int64())
    inside = pc.and_(pc.greater_equal(values, _FIRST_TIME), pc.less_equal(values, _LAST_TIME))
    return pc.if_else(inside, times, pa.scalar(None, times.type))


_CONVERSIONS: Mapping[ColumnType, Callable[[Any], Any]] = {
    "integer": _integers,
    "number": _numbers,
    "category": _texts,
    "text": _texts,
    "boolean": _booleans,
    "timestamp": _times,
}
MEANING: Mapping[ColumnType, str] = {
    "integer": "no whole number of 64 bits",
    "number": "no finite number",
    "category": "no text",
    "text": "no text",
    "boolean": "neither true nor false",
    "timestamp": "no time",
}


def _plain(raw: Any) -> Any:
    """Dictionary encoding resolved, NaN as null: what the cells mean."""
    if pa.types.is_dictionary(raw.type):
        raw = raw.cast(raw.type.value_type)
    if pa.types.is_floating(raw.type):
        raw = pc.if_else(pc.is_nan(raw), pa.scalar(None, raw.type), raw)
    return raw


def _cast_where_possible(array: Any, target: Any) -> Any:
    """Cast; where a value does not fit, null instead of the failure of the whole column."""
    try:
        return array.cast(target)
    except pa.ArrowInvalid:
        distinct = pc.unique(array)
        bad = [not _castable(distinct.slice(place, 1), target) for place in range(len(distinct))]
        unfit = pc.is_in(array, value_set=distinct.filter(pa.array(bad)))
        return pc.if_else(unfit, pa.scalar(None, array.type), array).cast(target)


def _castable(single: Any, target: Any) -> bool:
    try:
        single.cast(target)
    except pa.ArrowInvalid:
        return False
    return True


def _lost(raw: Any, typed: Any, name: str, why: str) -> list[Fault]:
    """The cells that held something and hold nothing after the conversion."""
    if raw.null_count == typed.null_count:
        return []
    return _faults_at(pc.and_(pc.is_valid(raw), pc.is_null(typed)), raw, name, why)


def _faults_at(where: Any, raw: Any, name: str, why: str) -> list[Fault]:
    rows = np.flatnonzero(np.asarray(pc.fill_null(where, False)))
    return [Fault(name, rows, why, show_cell(raw[int(rows[0])]))] if len(rows) else []


def show_cell(cell: Any) -> str:
    """A raw cell (a pyarrow Scalar) as it is shown in a message."""
    if not cell.is_valid:
        return "null"
    try:
        return shorten(cell.as_py())
    except (OverflowError, ValueError):  # a time that Python cannot hold
        return f"{cell.value} {cell.type}"


def one_chunk(column: Any) -> Any:
    """A chunked column as one array."""
    return column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
