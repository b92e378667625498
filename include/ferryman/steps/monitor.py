"""Measures the served model: quality on labelled predictions, drift of its inputs."""

from pathlib import Path

from pydantic import JsonValue

from ferryman.ledger.ledger import Ledger
from ferryman.runtime.files import write_json
from ferryman.runtime.messages import StepResult
from ferryman.steps.contract import StepContext, StepParams
from ferryman.steps.join_labels import told_labels
from ferryman.steps.monitored_drift import monitored_drift
from ferryman.steps.monitored_events import monitored_events
from ferryman.steps.monitored_groups import monitored_groups
from ferryman.steps.monitored_operations import monitored_operations
from ferryman.steps.monitored_quality import champion_facts, monitored_quality


class Params(StepParams):
    """No parameters."""


def run(context: StepContext) -> StepResult:
    """Measure the trailing windows that end with this one, and write the report."""
    head = Ledger(context.settings.ledger_url).head(context.model.name)
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
        **events.report(),
        **groups.report(),
        **operations.report(),
        **drift.report(),
    }
    report = str(_write_report(context, {**outputs, **parts}))
    return context.result(
        text="; ".join([quality.text, drift.text, *groups.alarms, *operations.alarms]),
        outputs={**outputs, "report": report},
        metrics={
            **quality.metrics(),
            **events.metrics(),
            **groups.metrics(),
            **operations.metrics(),
            **drift.metrics(),
        },
        artifacts={"report": report},
    )


def _write_report(context: StepContext, report: dict[str, JsonValue]) -> Path:
    root = context.settings.monitoring_root / context.model.name / "reports"
    file = root / f"{context.window.key}.json"
    window = {name: moment.isoformat() for name, moment in context.window.model_dump().items()}
    write_json(file, {**report, "window": window})
    return file
