"""Cleans typed rows as declared: cells, then duplicates, then outliers.

What becomes of a row follows from the rows of its own day (UTC, by event time) alone, or from the
whole of a lookup table: so a day is cleaned alike whenever and with whatever else it is read.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ferryman.data.rows.cell_rules import Finding, apply_rules, fill_nulls
from ferryman.data.rows.column_types import Fault, one_chunk
from ferryman.data.rows.duplicates import find_duplicates
from ferryman.data.rows.outliers import find_outliers
from ferryman.spec.sources import ColumnSpec, OutlierSpec, SourceSpec

IDENTICAL = "duplicate key: the row is there already, cell by cell"
DIFFERING = "duplicate key: another row of this key stays, and differs"
_DAY = 86_400_000_000  # microseconds


@dataclass(frozen=True)
class CleanedRows:
    """Every row after its mending, which of them to drop, and all that was found.

    `dropped` and `changed` are masks over the table's rows; a dropped row is not among the changed.
    """

    table: Any
    dropped: Any
    changed: Any
    findings: Sequence[Finding]


def clean_rows(typed: Any, faults: Sequence[Fault], spec: SourceSpec) -> CleanedRows:
    """Apply a source's rules to a typed pyarrow Table; `faults` are cells of another type.

    Duplicates are looked for among the rows whose cells are good; outliers among the rows that are
    left, and among values as they were delivered.
    """
    state = _State(typed)
    by_column: dict[str, list[Fault]] = {}
    for fault in _joined(faults):
        by_column.setdefault(fault.column, []).append(fault)
    for name, column in spec.columns.items():
        array, findings = apply_rules(
            name,
            column,
            state.arrays[name],
            by_column.get(name, []),
            selects=name == spec.event_time,
        )
        state.arrays[name] = array
        state.note(findings)
    _judge_days(state, spec)
    return state.finish()


def _joined(faults: Sequence[Fault]) -> list[Fault]:
    """One fault a column and reason: those of many blocks joined."""
    alike: dict[tuple[str, str], list[Fault]] = {}
    for fault in faults:
        alike.setdefault((fault.column, fault.why), []).append(fault)
    return [
        replace(found[0], rows=np.concatenate([fault.rows for fault in found]))
        for found in alike.values()
    ]


class _State:
    """The table while it is cleaned, column by column."""

    def __init__(self, typed: Any) -> None:
        self.rows = typed.num_rows
        self.arrays: dict[str, Any] = {
            name: one_chunk(typed.column(name)) for name in typed.column_names
        }
        self.dropped = np.zeros(self.rows, dtype=bool)
        self.findings: list[Finding] = []

    def note(self, findings: Sequence[Finding]) -> None:
        for finding in findings:
            if len(finding.rows):
                self.findings.append(finding)
                if finding.drops:
                    self.dropped[finding.rows] = True

    def touched(self, name: str) -> Any:
        """A mask of the rows in which something was found in a column."""
        mask = np.zeros(self.rows, dtype=bool)
        for finding in self.findings:
            if finding.column == name:
                mask[finding.rows] = True
        return mask

    def finish(self) -> CleanedRows:
        changed = np.zeros(self.rows, dtype=bool)
        for finding in self.findings:
            changed[finding.rows] = True
        return CleanedRows(
            pa.table(self.arrays), self.dropped, changed & ~self.dropped, self.findings
        )


def _judge_days(state: _State, spec: SourceSpec) -> None:
    declared = {name: column for name, column in spec.columns.items() if column.outliers}
    if not spec.key and not declared:
        return
    days = _days(state, spec.event_time)
    if spec.key:
        found = find_duplicates(pa.table(state.arrays), spec.key, ~state.dropped, days, spec.keep)
        state.note([Finding(None, IDENTICAL, found.identical, drops=True)])
        state.note([Finding(None, DIFFERING, found.differing, drops=True)])
    state.note(_mend_outliers(state, declared, days))


def _days(state: _State, event_time: str | None) -> Any:
    if event_time is None:
        return np.zeros(state.rows, dtype=np.int64)
    moments = pc.fill_null(state.arrays[event_time].cast(pa.int64()), 0)
    return np.asarray(moments) // _DAY


def _mend_outliers(state: _State, columns: Mapping[str, ColumnSpec], days: Any) -> list[Finding]:
    """Judge every column on the same rows; only then are any of them dropped."""
    findings = []
    for name, column in columns.items():
        rule = column.outliers
        if rule is None:
            continue
        array = state.arrays[name]
        judged = ~state.dropped & ~state.touched(name) & np.asarray(pc.is_valid(array))
        values = np.asarray(pc.fill_null(array, 0)).astype(np.float64)
        found = find_outliers(values, judged, days, rule)
        if not len(found.rows):
            continue
        reason = f"is an outlier ({rule.method}, {rule.factor:g})"
        findings.append(Finding(name, reason, found.rows, rule.action == "drop"))
        if rule.action != "drop":
            mended = _replaced(
                array, found.rows, _instead(array, found.fences, rule, values[found.rows])
            )
            state.arrays[name] = fill_nulls(mended, column)
    return findings


def _instead(array: Any, fences: Any, rule: OutlierSpec, values: Any) -> Any:
    """What stands in for outliers: nothing, or the fence (or the next whole number inside)."""
    if rule.action == "null":
        return pa.nulls(len(fences), array.type)
    if not pa.types.is_integer(array.type):
        return pa.array(fences)
    inside = np.where(values < fences, np.ceil(fences), np.floor(fences))
    return pa.array(inside.astype(np.int64))


def _replaced(array: Any, rows: Any, instead: Any) -> Any:
    mask = np.zeros(len(array), dtype=bool)
    mask[rows] = True
    return pc.replace_with_mask(array, pa.array(mask), instead)
