"""Measures the served model: quality on labelled predictions, drift of its inputs."""

from datetime import UTC, datetime
from pathlib import Path

from pydantic import Field, JsonValue

from ferryman.monitoring.declarations import Declarations
from ferryman.monitoring.looks import LOOKED_AT, report_file, told_look
from ferryman.runtime.files import write_json
from ferryman.runtime.messages import StepResult
from ferryman.steps.contract import LookBack, StepContext
from ferryman.steps.join_labels import told_labels
from ferryman.steps.known_errors import monitored_errors
from ferryman.steps.known_then import head_then
from ferryman.steps.monitored_drift import monitored_drift
from ferryman.steps.monitored_events import monitored_events
from ferryman.steps.monitored_groups import monitored_groups
from ferryman.steps.monitored_operations import monitored_operations
from ferryman.steps.monitored_quality import champion_facts, monitored_quality
from ferryman.steps.told_diagnosis import told_alarm


class Params(LookBack):
    """What kind of run measures."""

    tell: bool = Field(
        default=True,
        description="Whether an alarm is diagnosed and people are told; a replay does neither.",
    )


def run(context: StepContext) -> StepResult:
    """Measure the trailing windows that end with this one, and write the report.

    A backfill writes it in a place of its own, by what was known when the night first looked. An
    alarm is diagnosed and told, other than of a backfill; that this fails is said in the text.
    """
    now, head = context.known_until or datetime.now(UTC), head_then(context)
    quality, drift = monitored_quality(context, head), monitored_drift(context, head)
    events, groups = monitored_events(context, head), monitored_groups(context, head)
    operations = monitored_operations(context, head)
    outputs = {
        **quality.outputs(),
        "champion": champion_facts(context, head),
        **events.outputs(),
        **groups.outputs(),
        **operations.outputs(),
        **drift.outputs(),
    }
    parts = {
        "labels": told_labels(context),
        "errors": monitored_errors(context),
        **events.report(),
        **groups.report(),
        **operations.report(),
        **drift.report(),
    }
    _keep_declaration(context)
    report = str(_write_report(context, {**outputs, **parts}, now))
    told = told_alarm(context, {**outputs, **parts})
    return context.result(
        text="; ".join([quality.text, drift.text, *groups.alarms, *operations.alarms, *told.texts]),
        outputs={**outputs, "report": report, "diagnosis": told.title},
        metrics={
            **quality.metrics(),
            **events.metrics(),
            **groups.metrics(),
            **operations.metrics(),
            **drift.metrics(),
        },
        artifacts={"report": report},
    )


def _keep_declaration(context: StepContext) -> None:
    """A later diagnosis says which of its keys are not as they were tonight."""
    declared = context.spec.model_dump(mode="json")
    Declarations(context.monitoring_root).keep(context.model.name, context.model.digest, declared)


def _write_report(context: StepContext, report: dict[str, JsonValue], now: datetime) -> Path:
    file = report_file(context.monitoring_root, context.model.name, context.window)
    looked = told_look(file, context.window, now)
    window = {name: moment.isoformat() for name, moment in context.window.model_dump().items()}
    write_json(file, {**report, "window": window, LOOKED_AT: looked})
    return file
