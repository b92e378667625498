"""What `monitor` says of drift: inputs, scores and errors of late against what they were."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from ferryman.ledger.ledger import Ledger
from ferryman.ledger.records import Head
from ferryman.monitoring.drift import ColumnDrift, known_profiles
from ferryman.monitoring.drift_findings import Comparison, Finding, judge, remember
from ferryman.monitoring.drift_history import DriftHistory
from ferryman.monitoring.drift_night import (
    QUIET,
    compare_columns,
    compare_concept,
    compare_joint,
    compare_scores,
    first_scores,
    spans,
    upheld,
)
from ferryman.monitoring.drift_units import compare_units
from ferryman.monitoring.logged_days import LoggedDays
from ferryman.profiles.column_profile import profile_json
from ferryman.profiles.comparison import named_in
from ferryman.profiles.day_profiles import DayProfiles, merged
from ferryman.profiles.trained_days import read_days
from ferryman.runtime.bundle import REFERENCE, SIGNATURE, Signature
from ferryman.runtime.files import read_json
from ferryman.spec.data import FeatureSpec
from ferryman.spec.windows import Window
from ferryman.steps.contract import StepContext
from ferryman.steps.drift_residuals import champion_residuals
from ferryman.steps.logged_days import logged_days

_SHOWN = 3
_FINDINGS = 50


@dataclass(frozen=True)
class MonitoredDrift:
    """Drift over the trailing window and of the newest one: columns, and everything's findings.

    columns: against the champion's training data; findings: of all comparisons, alarms first;
    unjudged: what could not be compared, by its key, and why; rate: the false-alarm rate of a
    night over all comparisons.
    """

    columns: Sequence[ColumnDrift] = ()
    findings: Sequence[Finding] = ()
    unjudged: dict[str, str] = field(default_factory=dict)
    rate: float = 0.0

    @property
    def drifted(self) -> list[str]:
        """The columns that call for attention."""
        return [column.column for column in self.columns if column.drifted]

    @property
    def alarms(self) -> list[Finding]:
        """What was found tonight and not told before."""
        return [finding for finding in self.findings if finding.outcome == "alarm"]

    @property
    def text(self) -> str:
        """One line for people."""
        watched = sum(column.outcome != "not_logged" for column in self.columns)
        text = f"{len(self.drifted)} of {watched} columns drifted"
        told = [finding.text for finding in self.alarms[:_SHOWN]]
        return f"{text}; drift alarm: {'; '.join(told)}" if told else text

    def outputs(self) -> dict[str, JsonValue]:
        """For the step's result, and the report."""
        drift: dict[str, JsonValue] = {
            "alarm": bool(self.alarms),
            "findings": [finding.as_json() for finding in self.findings[:_FINDINGS]],
            "text": self.text,
            "rate": self.rate,
        }
        return {"drifted": list(self.drifted), "drift": drift}

    def report(self) -> dict[str, JsonValue]:
        """For the report alone."""
        return {
            "columns": [column.as_json() for column in self.columns],
            "drift_unjudged": dict(self.unjudged),
        }

    def metrics(self) -> dict[str, float | None]:
        """For the step's result."""
        largest = [column.psi for column in self.columns if column.psi is not None]
        effects = [column.effect for column in self.columns if column.effect is not None]
        return {
            "drifted_columns": float(len(self.drifted)),
            "drift_alarms": float(len(self.alarms)),
            "largest_stability_index": max(largest, default=None),
            "largest_shift": max(effects, default=None),
        }


def monitored_drift(context: StepContext, head: Head | None) -> MonitoredDrift:
    """Compare the night that ends with this window, and remember what it came to."""
    if head is None:
        return MonitoredDrift()
    spec, window, model = context.spec.monitor.drift, context.window, context.model.name
    history = DriftHistory(context.monitoring_root)
    earlier = history.before(model, window.start)
    columns, comparisons, scores = _compared(context, head, _first(earlier, head, context))
    findings = judge(comparisons, earlier, spec, start=window.start, version=head.version)
    night = remember(
        comparisons,
        findings,
        span=(window.start, window.end),
        version=head.version,
        scores=scores,
    )
    history.write(model, window, night)
    unjudged = {one.key: one.outcome for one in comparisons if one.effect is None}
    told = upheld(columns, findings, spec.effect)
    return MonitoredDrift(told, findings, unjudged, spec.significance)


def _first(earlier: Sequence[Any], head: Head, context: StepContext) -> Any:
    """The profile of the champion's scores in its first days, those of the trailing window not."""
    before = context.window.end - context.spec.monitor.drift.window
    return first_scores(earlier, head.version, before)


def _compared(
    context: StepContext, head: Head, first: Any
) -> tuple[list[ColumnDrift], list[Comparison], dict[str, Any] | None]:
    """Columns, all comparisons, and the profile of the newest window's scores."""
    spec, window = context.spec.monitor.drift, context.window
    # What the champion was packaged to log; the declaration may say something else by now.
    logged = Signature.model_validate(read_json(Path(head.bundle) / SIGNATURE)).logged
    declared = context.spec.features.columns
    watched = {name: kind for name, kind in declared.items() if logged is None or name in logged}
    stored = read_json(Path(head.bundle) / REFERENCE)
    reference = known_profiles(stored, watched)
    answers = _answers(context, head, watched, named_in(reference))
    days = answers.profiles()
    columns, comparisons = compare_columns(
        reference, days, watched, window, spec, trained=read_days(stored)
    )
    comparisons += compare_units(reference, days, watched, window, spec)
    own = spans(answers.names, window, spec)
    newest, previous = answers.rows(own.newest), answers.rows(own.previous)
    comparisons.append(compare_joint(newest, previous, watched, spec))
    scores = answers.scores(head.version)
    comparisons += compare_scores(first, scores, window, spec)
    labelled = champion_residuals(context, head, since=window.end - spec.window - QUIET)
    comparisons += compare_concept(labelled, window, spec)
    by_name = {column.column: column for column in columns}
    missing = [ColumnDrift(name, "not_logged", answers.count) for name in declared]
    told = [by_name.get(column.column, column) for column in missing]
    return told, comparisons, _newest_scores(scores, context)


def _newest_scores(scores: DayProfiles, context: StepContext) -> dict[str, Any] | None:
    own = [scores[day] for day in scores if day >= f"{context.window.start:%Y-%m-%d}"]
    return profile_json(merged(own)) if own else None


def _answers(
    context: StepContext,
    head: Head,
    watched: Mapping[str, FeatureSpec],
    named: Mapping[str, Collection[str]],
) -> LoggedDays:
    """The days of the trailing window, and of four weeks before it.

    Without the answers of versions that log less: what they leave out would look like nulls.
    """
    spec, window = context.spec.monitor.drift, context.window
    start = min(window.end - spec.window - QUIET, window.start - max(spec.previous, QUIET))
    span = Window(start=start, end=window.end)
    answers = logged_days(context, span, watched, named, least=spec.min_rows)
    history = Ledger(context.settings.ledger_url).history(context.model.name)
    bundles = {op.candidate.version: Path(op.candidate.bundle) for op in history}
    lacking = []
    for version in sorted((answers.versions - {head.version}) & bundles.keys()):
        file = bundles[version] / SIGNATURE
        kept = Signature.model_validate(read_json(file)).logged if file.is_file() else None
        if kept is not None and not set(watched) <= set(kept):
            lacking.append(version)
    return answers.without(lacking)
