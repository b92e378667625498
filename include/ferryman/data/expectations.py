"""Great Expectations over a window's features: expectations.yaml in, a report and a verdict out.

Great Expectations takes five CPU seconds to import, so nothing else imports this module's `run`.
One context and one suite serve every window of a call.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ferryman.data.column_types import shorten
from ferryman.data.expectation_file import DeclaredExpectation
from ferryman.errors import SpecError

_SHOWN_ROWS = 3
_KEY = "entity_key"

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
        self._declared = list(declared)
        self._suite = context.suites.add(gx.ExpectationSuite(name="expectations"))
        for position, expected in enumerate(self._declared):
            kind = getattr(gx.expectations, expected.name)
            try:
                self._suite.add_expectation(kind(**expected.arguments, meta={"position": position}))
            except (TypeError, ValueError) as error:
                raise SpecError(
                    f"{file}:{expected.line}: {expected.name}: {_short_error(error)}",
                    remedy="Correct the arguments of the expectation.",
                ) from error

    def run(self, features: Any) -> list[ExpectationOutcome]:
        """Every expectation's outcome on one window's features (a pyarrow Table)."""
        frame = features.to_pandas()
        batch = self._batch.get_batch(batch_parameters={"dataframe": frame})
        report = batch.validate(
            self._suite,
            result_format={
                "result_format": "SUMMARY",
                "partial_unexpected_count": _SHOWN_ROWS,
                "unexpected_index_column_names": [_KEY],
            },
        )
        outcomes = [self._outcome(result, len(frame)) for result in report.results]
        return sorted(outcomes, key=lambda outcome: outcome.line)

    def _outcome(self, result: Any, rows: int) -> ExpectationOutcome:
        config = result.expectation_config
        expected = self._declared[config.meta["position"]]
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


def _first_bad(found: Mapping[str, Any], column: object) -> list[dict[str, str]]:
    rows = found.get("partial_unexpected_index_list") or []
    return [
        {
            "entity_key": str(row[_KEY]),
            "value": shorten(row.get(column))
            if column in row
            else ", ".join(f"{key}={shorten(row[key])}" for key in row if key != _KEY),
        }
        for row in rows[:_SHOWN_ROWS]
    ]


def _observed(found: Mapping[str, Any]) -> str | None:
    value = found.get("observed_value")
    return None if value is None else str(value)[:200]


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
