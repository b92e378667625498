"""The rules of one column: what becomes of cells that are not of its type, range or categories."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ferryman.data.rows.column_types import Fault
from ferryman.spec.sources import ColumnSpec

IS_NULL = "is null, and the column is not nullable"
NO_TIME = "is null, and without a time a row belongs to no window"


@dataclass(frozen=True)
class Finding:
    """Rows that one rule touched: positions, ascending, and whether they are to be dropped.

    `column` is None where the row as such is at fault.
    """

    column: str | None
    reason: str
    rows: Any
    drops: bool

    @property
    def name(self) -> str:
        """The reason with its column, as it is counted."""
        return self.reason if self.column is None else f"column {self.column!r}: {self.reason}"


def apply_rules(
    name: str, spec: ColumnSpec, array: Any, faults: Sequence[Fault], *, selects: bool
) -> tuple[Any, list[Finding]]:
    """One typed column after its rules, with what they touched.

    `faults` are the cells that are not of the type (null in `array`). `selects` says that windows
    are chosen by this column, so that its rows cannot do without it. A cell of another type cannot
    be moved to a bound: its row is dropped where `invalid` says clip.
    """
    mends = spec.invalid == "null" and not selects
    findings = [Finding(name, fault.why, fault.rows, not mends) for fault in faults]
    faulty = np.zeros(len(array), dtype=bool)
    for fault in faults:
        faulty[fault.rows] = True
    nulls = np.flatnonzero(np.asarray(pc.is_null(array)) & ~faulty)
    for limit, why, passed in _limits(spec, array):
        rows = np.flatnonzero(np.asarray(pc.fill_null(passed, False)))
        if len(rows):
            findings.append(Finding(name, why, rows, spec.invalid == "drop"))
            array = _mended(array, passed, spec, limit)
    if len(nulls):
        finding = _judge_nulls(name, spec, nulls, selects=selects)
        findings += [finding] if finding else []
    return fill_nulls(array, spec), findings


def fill_nulls(array: Any, spec: ColumnSpec) -> Any:
    """The column with its declared stand-in for null, if it has one."""
    if spec.fill is None or not array.null_count:
        return array
    return pc.fill_null(array, pa.scalar(spec.fill, array.type))


def _judge_nulls(name: str, spec: ColumnSpec, rows: Any, *, selects: bool) -> Finding | None:
    if selects:
        return Finding(name, NO_TIME, rows, drops=True)
    if spec.fill is not None:
        return Finding(name, f"is null, filled with {shown(spec.fill)}", rows, drops=False)
    return None if spec.nullable else Finding(name, IS_NULL, rows, drops=True)


def _limits(spec: ColumnSpec, array: Any) -> list[tuple[Any, str, Any]]:
    """What stands in for it, why, and which cells, for each limit that is declared."""
    limits: list[tuple[Any, str, Any]] = []
    if spec.min is not None:
        bound = _bound(spec.min, array.type)
        limits.append((bound, f"is below {shown(spec.min)}", pc.less(array, bound)))
    if spec.max is not None:
        bound = _bound(spec.max, array.type)
        limits.append((bound, f"is above {shown(spec.max)}", pc.greater(array, bound)))
    if spec.values is not None:
        known = pc.is_in(array, value_set=pa.array(spec.values, pa.string()))
        strange = pc.and_(pc.is_valid(array), pc.invert(known))
        limits.append((None, "is none of the declared values", strange))
    return limits


def _mended(array: Any, passed: Any, spec: ColumnSpec, limit: Any) -> Any:
    """The column with the cells beyond a limit made null or moved to it; `drop` leaves them."""
    if spec.invalid == "drop":
        return array
    instead = limit if spec.invalid == "clip" else pa.scalar(None, array.type)
    return pc.if_else(pc.fill_null(passed, False), instead, array)


def _bound(limit: float, kind: Any) -> Any:
    """A declared bound in the column's type; those of whole numbers are whole."""
    return pa.scalar(int(limit) if pa.types.is_integer(kind) else limit, kind)


def shown(value: float | str) -> str:
    """A declared value as it was most likely written."""
    if isinstance(value, float) and value.is_integer() and abs(value) <= 2**53:
        return str(int(value))
    return str(value)[:40]
