"""Great Expectations over a window's features: expectations.yaml in, a report and a verdict out.

Great Expectations takes five CPU seconds to import, so it is imported by a suite alone. One context
and one suite serve every window of a call. A first pass counts; only what failed is run again, for
its first bad rows: looking up rows costs more than checking a million of them.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ferryman.data.rows.column_types import shorten
from ferryman.data.validation.expectation_file import DeclaredExpectation
from ferryman.errors import SpecError

SHOWN_ROWS = 3
_KEY = "entity_key"
_KEY_CHARACTERS = 200  # whole keys find the row again
# Arguments that name columns; an expectation with others may look at any column.
_COLUMN_ARGUMENTS = ("column", "column_A", "column_B")
_COUNT = {"result_format": "BASIC", "partial_unexpected_count": 0}
_ROWS = {
    "result_format": "SUMMARY",
    "partial_unexpected_count": SHOWN_ROWS,
    "unexpected_index_column_names": [_KEY],
}

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ExpectationOutcome:
    """What one expectation said of one window: JSON values only."""

    expect: str
    column: str | None
    line: int
    success: bool
    unexpected: int
    rows: int
    first_bad: list[dict[str, str]]
    observed: str | None = None

    def explain(self) -> str:
        """One line for people: column, expectation, count and first bad rows."""
        where = f"column {self.column!r}" if self.column else "the table"
        text = f"{where} fails {self.expect} (line {self.line})"
        if self.unexpected:
            text += f": {self.unexpected} of {self.rows} rows"
        if self.first_bad:
            shown = (f"{row['entity_key']} has {row['value']}" for row in self.first_bad)
            text += f", first {'; '.join(shown)}"
        if self.observed is not None:
            text += f": observed {self.observed}"
        return text


@dataclass(frozen=True)
class Validation:
    """One window's outcomes, and the library's own result that they were read from."""

    outcomes: list[ExpectationOutcome]
    result: Any

    @property
    def success(self) -> bool:
        """Whether every expectation was met."""
        return all(outcome.success for outcome in self.outcomes)


class ExpectationSuite:
    """A declared suite, ready for any number of windows."""

    def __init__(self, file: Path, declared: Sequence[DeclaredExpectation]) -> None:
        """Raises SpecError (exit 2) with file:line for an expectation with wrong arguments."""
        import great_expectations as gx
        from great_expectations.data_context.types.base import ProgressBarsConfig

        # It sets its own level to INFO on import, and tells of a folder that it does not keep.
        logging.getLogger("great_expectations.data_context.types.base").setLevel(logging.WARNING)
        context = gx.get_context(mode="ephemeral")
        context.enable_analytics(False)
        context.variables.progress_bars = ProgressBarsConfig(globally=False)
        asset = context.data_sources.add_pandas("window").add_dataframe_asset("features")
        self._batch = asset.add_batch_definition_whole_dataframe("all")
        self._file = file
        self._declared = list(declared)
        self._suite = self._build(range(len(self._declared)))

    def run(self, features: Any) -> list[ExpectationOutcome]:
        """Every expectation's outcome on one window's features (a pyarrow Table)."""
        return self.validate(features).outcomes

    def validate(self, features: Any) -> Validation:
        """The outcomes and the library's result, which names no more rows than the outcomes do."""
        needed = _needed_columns(self._declared, features.column_names)
        result = self._check(self._suite, features.select(needed), _COUNT)
        failed = {_position(one) for one in result.results if not one.success}
        if failed:
            again = self._check(self._build(sorted(failed)), features, _ROWS)
            detailed = {_position(one): one for one in again.results}
            result.results = [detailed.get(_position(one), one) for one in result.results]
        outcomes = [self._outcome(one, features.num_rows) for one in result.results]
        return Validation(sorted(outcomes, key=lambda outcome: outcome.line), result)

    def _build(self, positions: Iterable[int]) -> Any:
        import great_expectations as gx

        made = []
        for position in positions:
            expected = self._declared[position]
            kind = getattr(gx.expectations, expected.name)
            try:
                made.append(kind(**expected.arguments, meta={"position": position}))
            except (TypeError, ValueError) as error:
                raise SpecError(
                    f"{self._file}:{expected.line}: {expected.name}: {_short_error(error)}",
                    remedy="Correct the arguments of the expectation.",
                ) from error
        return gx.ExpectationSuite(name="expectations", expectations=made)

    def _check(self, suite: Any, features: Any, result_format: Mapping[str, Any]) -> Any:
        batch = self._batch.get_batch(batch_parameters={"dataframe": features.to_pandas()})
        return batch.validate(suite, result_format=result_format)

    def _outcome(self, result: Any, rows: int) -> ExpectationOutcome:
        expected = self._declared[_position(result)]
        raised = _exception_of(result.exception_info)
        found = result.result or {}
        column = expected.arguments.get("column")
        observed = raised or _observed(found)
        return ExpectationOutcome(
            expect=expected.name,
            column=str(column) if column is not None else None,
            line=expected.line,
            success=bool(result.success),
            unexpected=int(found.get("unexpected_count") or 0),
            rows=rows,
            first_bad=_first_bad(found, column),
            observed=None if result.success else observed,
        )


def _needed_columns(declared: Sequence[DeclaredExpectation], columns: list[str]) -> list[str]:
    """The columns that a suite can look at: all of them where that cannot be told."""
    needed = set()
    for expected in declared:
        named = [expected.arguments[key] for key in _COLUMN_ARGUMENTS if key in expected.arguments]
        needed.update(named)
        counts_rows = expected.name.startswith("ExpectTableRowCount")
        if "row_condition" in expected.arguments or not (named or counts_rows):
            return columns
    return [name for name in columns if name in needed] or columns


def _position(result: Any) -> int:
    return int(result.expectation_config.meta["position"])


def _first_bad(found: Mapping[str, Any], column: object) -> list[dict[str, str]]:
    rows = found.get("partial_unexpected_index_list") or []
    return [
        {
            "entity_key": str(row[_KEY])[:_KEY_CHARACTERS],
            "value": _cell(row[column])
            if column in row
            else ", ".join(f"{key}={_cell(row[key])}" for key in row if key != _KEY),
        }
        for row in rows[:SHOWN_ROWS]
    ]


def few(value: Any) -> Any:
    """An observed value; of several (the distinct values of a column) the first ones."""
    if isinstance(value, Mapping):
        return {key: few(entry) for key, entry in list(value.items())[:SHOWN_ROWS]}
    if not isinstance(value, list | tuple | set) or len(value) <= SHOWN_ROWS:
        return value
    return [*list(value)[:SHOWN_ROWS], f"and {len(value) - SHOWN_ROWS} more"]


def _cell(value: Any) -> str:
    return "null" if value is None or value != value else shorten(value)  # noqa: PLR0124 - NaN


def _observed(found: Mapping[str, Any]) -> str | None:
    """What was seen instead: a figure, or the first of the values that should not be there."""
    value = found.get("observed_value")
    if isinstance(value, int | float | str):
        return str(value)[:200]
    if found.get("partial_unexpected_index_list"):
        return None  # rows say more
    unexpected = found.get("partial_unexpected_list") or []
    if unexpected:
        return ", ".join(_cell(one) for one in unexpected[:SHOWN_ROWS])
    return None if value is None else str(counted(value))[:200]


def counted(value: Any) -> Any:
    """A figure as it is; of several values (the distinct ones of a column) only how many."""
    several = isinstance(value, list | tuple | set | Mapping)
    return f"{len(value)} values" if several else value


def _exception_of(info: Any) -> str | None:
    """The text of an exception inside a metric; one level, or one per metric."""
    if not info:
        return None
    entries = [info] if "raised_exception" in info else list(info.values())
    texts = [str(e.get("exception_message")) for e in entries if e.get("raised_exception")]
    return texts[0][:300] if texts else None


def _short_error(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines)[:300]
