"""Takes raw rows in: those of a span are typed; bad ones reject, or are dropped as declared."""

import logging
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ferryman.data.column_types import Fault, type_column, type_table
from ferryman.errors import DataRejected
from ferryman.spec.sources import SourceSpec
from ferryman.spec.windows import Window

_SHOWN_FAULTS = 5
_REMEDY = "Repair the file, or correct the declared columns in model.yaml; then run again."

logger = logging.getLogger(__name__)


class RowIntake:
    """Collects the typed rows of one file, piece by piece.

    `shown` names the file in messages, `place` turns a row's position into "line 17" or "row 16".
    """

    def __init__(
        self,
        spec: SourceSpec,
        span: Window | None,
        *,
        text: bool,
        shown: str,
        place: Callable[[int], str],
    ) -> None:
        self._spec = spec
        self._span = span
        self._text = text
        self._shown = shown
        self._place = place
        self._tables: list[Any] = []
        self._bad: list[Any] = []
        self._faults: list[Fault] = []

    def add(self, raw: Any, first: int) -> None:
        """Take the rows of one raw table; `first` is the position of its first row in the file."""
        rows = self._rows_in_span(raw)
        chosen = raw if rows is None else raw.take(pa.array(rows))
        typed, faults = type_table(chosen, self._spec.columns, text=self._text)
        bad = np.zeros(typed.num_rows, dtype=bool)
        for fault in faults:
            bad[fault.rows] = True
            positions = fault.rows if rows is None else rows[fault.rows]
            self._faults.append(_moved(fault, positions + first))
        self._tables.append(typed)
        self._bad.append(bad)

    def finish(self, max_rejected: float) -> tuple[Any, int]:
        """The good rows as one table, and how many were dropped.

        Raises DataRejected (exit 3) where more than the declared share is bad, or a column as such
        is: each with column, count, first place and example.
        """
        if not self._tables:
            return None, 0
        table = pa.concat_tables(self._tables)
        if not self._faults:
            return table, 0
        bad = np.concatenate(self._bad)
        dropped = int(bad.sum())
        whole = any(fault.whole for fault in self._faults)
        if whole or dropped > max_rejected * table.num_rows:
            raise DataRejected(self._explain(dropped, table.num_rows), remedy=_REMEDY)
        logger.warning(
            "dropped %d of %d rows: %s",
            dropped,
            table.num_rows,
            self._explain(dropped, table.num_rows),
        )
        return table.filter(pa.array(~bad)), dropped

    def _rows_in_span(self, raw: Any) -> Any:
        """Positions of the span's rows and of those whose time cannot be read; None is all."""
        name = self._spec.event_time
        if name is None or self._span is None:
            return None
        column = raw.column(name).combine_chunks()
        times, faults = type_column(column, name, self._spec.columns[name], text=self._text)
        if any(fault.whole for fault in faults):
            return None
        span = self._span
        inside = pc.and_(
            pc.greater_equal(times, pa.scalar(span.start, times.type)),
            pc.less(times, pa.scalar(span.end, times.type)),
        )
        return np.flatnonzero(np.asarray(pc.fill_null(inside, True)))

    def _explain(self, bad_rows: int, rows: int) -> str:
        lines = [self._explain_fault(fault) for fault in _by_column(self._faults)]
        if len(lines) > _SHOWN_FAULTS:
            lines[_SHOWN_FAULTS:] = [f"and {len(lines) - _SHOWN_FAULTS} more faults"]
        return f"{self._shown}: {'; '.join(lines)} ({bad_rows} of {rows} rows are bad)"

    def _explain_fault(self, fault: Fault) -> str:
        count = len(fault.rows)
        if fault.whole:
            at = f", {self._place(int(fault.rows[0]))}: {fault.example}" if count else ""
            return f"column {fault.column!r} {fault.why}{at}"
        first = f"{self._place(int(fault.rows[0]))}: {fault.example} {fault.why}"
        if count == 1:
            return f"column {fault.column!r}, {first}"
        return f"column {fault.column!r}: {count} bad values, the first in {first}"


def _moved(fault: Fault, rows: Any) -> Fault:
    return Fault(fault.column, rows, fault.why, fault.example, fault.whole)


def _by_column(faults: Sequence[Fault]) -> list[Fault]:
    """One fault a column and reason: pieces of one file joined, the first example kept."""
    joined: dict[tuple[str, str], Fault] = {}
    for fault in faults:
        key = (fault.column, fault.why)
        known = joined.get(key)
        rows = fault.rows if known is None else np.concatenate([known.rows, fault.rows])
        joined[key] = _moved(known or fault, rows)
    return list(joined.values())
