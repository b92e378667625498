"""Takes raw rows in: those of a span are typed and cleaned; too many bad ones reject the window."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ferryman.data.rows.cell_rules import Finding
from ferryman.data.rows.cells import Misfits
from ferryman.data.rows.cleaning import Cleaning, RowsRejected
from ferryman.data.rows.column_types import (
    ARROW_TYPES,
    MEANING,
    Fault,
    shorten,
    type_column,
    type_table,
)
from ferryman.data.rows.judgement import Judgement, later_columns
from ferryman.data.rows.quarantine import Origin, Piece, quarantine_table
from ferryman.data.rows.row_cleaning import CleanedRows, clean_rows
from ferryman.errors import DataRejected
from ferryman.spec.sources import ColumnSpec, SourceSpec
from ferryman.spec.windows import Window

_SHOWN_FAULTS = 5
_SHOWN_PATH = 300
_REMEDY = (
    "Repair the rows at their source, or correct the declared columns, or declare max_rejected, in "
    "model.yaml; then run again."
)
_REMEDY_OF_COLUMN = (
    "Deliver the column as it is declared, or declare it as it is in model.yaml; then run again."
)

logger = logging.getLogger(__name__)


class RowIntake:
    """Collects the rows of one reading of a source, piece by piece.

    `span` and `judgement` are those of Source.read.
    """

    def __init__(
        self,
        name: str,
        spec: SourceSpec,
        span: Window | None,
        judgement: Judgement | None = None,
        *,
        max_rejected: float = 0.0,
    ) -> None:
        self._name = name
        self._spec = spec
        self._span = span
        self._judgement = judgement or Judgement()
        self._max_rejected = max_rejected
        self._pieces: list[Piece] = []
        self._typed: list[Any] = []
        self._faults: list[Fault] = []
        self._rows = 0

    def add(self, raw: Any, first: int, origin: Origin, misfits: Misfits | None = None) -> None:
        """Take the rows of one raw pyarrow Table that has the declared columns.

        `first` is the position of its first row in its origin; `misfits` are cells (null in `raw`)
        of another kind than their column, by their row in `raw`.
        """
        rows = self._rows_in_span(raw, origin)
        chosen = raw if rows is None else raw.take(pa.array(rows))
        positions = np.arange(raw.num_rows) if rows is None else rows
        columns = self._spec.columns
        typed, faults = type_table(chosen, columns, form=origin.form)
        faults += _faults_of_misfits(misfits or {}, columns, positions)
        self._faults += [_moved(fault, fault.rows + self._rows) for fault in faults]
        placed = {
            name: {row + first: text for row, text in cells.items()}
            for name, cells in (misfits or {}).items()
        }
        kept = chosen.select(list(columns))
        self._pieces.append(Piece(kept, origin, positions + first, self._rows, placed))
        self._typed.append(typed)
        self._rows += typed.num_rows

    def finish(self) -> tuple[Any, Cleaning]:
        """The good rows as one table, and what was done to the rows that count.

        Raises RowsRejected (exit 3) where more than the declared share was dropped or changed, each
        reason with its count, first place and example; DataRejected where a column as such is not
        what was declared.
        """
        if not self._typed:
            return empty_table(self._spec), Cleaning()
        whole = [fault for fault in self._faults if fault.whole]
        if whole:
            lines = [self._explain_whole(fault) for fault in whole]
            raise DataRejected(self._told(lines), remedy=_REMEDY_OF_COLUMN)
        cleaned = clean_rows(pa.concat_tables(self._typed), self._faults, self._spec)
        findings, counted = self._judged(cleaned)
        cleaning = self._account(findings, counted)
        bad = cleaning.dropped + cleaning.changed
        if bad:
            text = self._explain(findings, counted, cleaning)
            if bad / cleaning.rows > self._max_rejected:
                raise RowsRejected(text, remedy=_REMEDY, cleaning=cleaning)
            logger.warning("%s", text)
        if not cleaned.dropped.any():
            return cleaned.table, cleaning
        return cleaned.table.filter(pa.array(~cleaned.dropped)), cleaning

    def _rows_in_span(self, raw: Any, origin: Origin) -> Any:
        """Positions of the span's rows and of those whose time cannot be read; None is all."""
        name = self._spec.event_time
        if name is None or self._span is None:
            return None
        column = raw.column(name).combine_chunks()
        times, faults = type_column(column, name, self._spec.columns[name], form=origin.form)
        if any(fault.whole for fault in faults):
            return None
        inside = pc.fill_null(_between(times, self._span), True)
        return np.flatnonzero(np.asarray(inside))

    def _judged(self, cleaned: CleanedRows) -> tuple[list[Finding], Any]:
        """The findings that are judged now, and a mask of the rows that count."""
        counted = self._rows_judged(cleaned.table)
        if not self._judgement.outcomes:
            return list(cleaned.findings), counted
        later = set(later_columns(self._spec))
        for finding in cleaned.findings:
            if finding.drops and finding.column not in later:
                counted[finding.rows] = False
        return [found for found in cleaned.findings if found.column in later], counted

    def _rows_judged(self, table: Any) -> Any:
        """The rows of the judged span, and those without a time."""
        name, judged, span = self._spec.event_time, self._judgement.span, self._span
        if name is None or judged is None:
            return np.ones(table.num_rows, dtype=bool)
        if span is not None and not (judged.start < span.end and span.start < judged.end):
            return np.zeros(table.num_rows, dtype=bool)
        timeless = not self._judgement.outcomes
        inside = pc.fill_null(_between(table.column(name), judged), timeless)
        return np.array(inside)

    def _account(self, findings: Sequence[Finding], counted: Any) -> Cleaning:
        counts: dict[str, int] = {}
        dropped, changed = np.zeros(len(counted), dtype=bool), np.zeros(len(counted), dtype=bool)
        for finding in findings:
            (dropped if finding.drops else changed)[finding.rows] = True
            touched = int(counted[finding.rows].sum())
            if touched:
                counts[finding.name] = counts.get(finding.name, 0) + touched
        return Cleaning(
            rows=int(counted.sum()),
            dropped=int((dropped & counted).sum()),
            changed=int((changed & ~dropped & counted).sum()),
            counts=counts,
            quarantine=quarantine_table(self._name, self._pieces, findings, dropped, counted),
        )

    def _explain(self, findings: Sequence[Finding], counted: Any, cleaning: Cleaning) -> str:
        lines = []
        for finding in findings:
            rows = finding.rows[counted[finding.rows]]
            if len(rows):
                lines.append(self._explain_finding(finding, rows))
        bad = f"{cleaning.dropped + cleaning.changed} of {cleaning.rows} rows are bad"
        fates = [f"{n} {fate}" for n, fate in _fates(cleaning) if n]
        return self._told(lines) + f" ({bad}: {', '.join(fates)})"

    def _told(self, lines: Sequence[str]) -> str:
        if len(lines) > _SHOWN_FAULTS:
            lines = [*lines[:_SHOWN_FAULTS], f"and {len(lines) - _SHOWN_FAULTS} more reasons"]
        shown = {piece.origin.shown for piece in self._pieces}
        where = shown.pop() if len(shown) == 1 else f"source {self._name!r}"
        return f"{where[-_SHOWN_PATH:]}: {'; '.join(lines)}"

    def _explain_finding(self, finding: Finding, rows: Any) -> str:
        row = int(rows[0])
        piece = self._piece(row)
        if finding.column is None:
            first, what = self._place(piece, row), finding.reason
        else:
            first = f"{self._place(piece, row)}: {piece.example(finding.column, row)}"
            what = f"column {shorten(finding.column)}"
        reason = "" if finding.column is None else f" {finding.reason}"
        if len(rows) == 1:
            return f"{what}, {first}{reason}"
        return f"{what}: {len(rows)} rows, the first in {first}{reason}"

    def _explain_whole(self, fault: Fault) -> str:
        text = f"column {shorten(fault.column)} {fault.why}"
        if not len(fault.rows):
            return text
        row = int(fault.rows[0])
        return f"{text}, {self._place(self._piece(row), row)}: {fault.example}"

    def _piece(self, row: int) -> Piece:
        return next(piece for piece in reversed(self._pieces) if piece.start <= row)

    def _place(self, piece: Piece, row: int) -> str:
        """The place of a row; with its part where there are several."""
        parts = {other.origin.part for other in self._pieces}
        place = piece.place(row)
        return place if len(parts) == 1 else f"{piece.origin.part[-_SHOWN_PATH // 3 :]}, {place}"


def empty_table(spec: SourceSpec) -> Any:
    """A table of a source's typed columns without any row."""
    fields = [(name, ARROW_TYPES[column.type]) for name, column in spec.columns.items()]
    return pa.schema(fields).empty_table()


def _between(times: Any, span: Window) -> Any:
    edge = ARROW_TYPES["timestamp"]
    return pc.and_(
        pc.greater_equal(times, pa.scalar(span.start, edge)),
        pc.less(times, pa.scalar(span.end, edge)),
    )


def _faults_of_misfits(
    misfits: Misfits, columns: Mapping[str, ColumnSpec], positions: Any
) -> list[Fault]:
    faults = []
    for name, cells in misfits.items():
        rows = np.flatnonzero(np.isin(positions, np.fromiter(cells, np.int64, len(cells))))
        if len(rows):
            example = shorten(cells[int(positions[rows[0]])])[1:-1]
            faults.append(Fault(name, rows, f"is {MEANING[columns[name].type]}", example))
    return faults


def _moved(fault: Fault, rows: Any) -> Fault:
    return Fault(fault.column, rows, fault.why, fault.example, fault.whole)


def _fates(cleaning: Cleaning) -> list[tuple[int, str]]:
    return [(cleaning.dropped, "to drop"), (cleaning.changed, "to change")]
