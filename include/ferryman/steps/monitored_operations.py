"""What `monitor` says of the window's answers themselves: how fast, of whom, from which inputs."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from ferryman.ledger.records import Head
from ferryman.monitoring.input_statistics import (
    InputStatistics,
    input_statistics,
    logged_columns,
)
from ferryman.monitoring.operations import Operations, measure_operations
from ferryman.runtime.bundle import REFERENCE, SIGNATURE, Signature
from ferryman.runtime.files import read_json
from ferryman.steps.contract import StepContext
from ferryman.steps.logged_answers import logged_answers

_TOLD = ("latency", "propensity")
_NEEDED = {"variant", *_TOLD}


@dataclass(frozen=True)
class MonitoredOperations:
    """Operations of each version and variant, and the columns that were logged."""

    operations: Sequence[Operations]
    inputs: Sequence[InputStatistics]

    @property
    def alarms(self) -> list[str]:
        """What is slower than declared, in words."""
        return [one.text for one in self.operations if one.slow]

    def outputs(self) -> dict[str, JsonValue]:
        """For the step's result, and the report."""
        return {"slow": list(self.alarms)}

    def report(self) -> dict[str, JsonValue]:
        """For the report alone."""
        return {
            "operations": [one.as_json() for one in self.operations],
            "inputs": [one.as_json() for one in self.inputs],
        }

    def metrics(self) -> dict[str, float | None]:
        """For the step's result."""
        return {
            "requests": float(sum(one.requests for one in self.operations)),
            "slow_variants": float(sum(bool(one.slow) for one in self.operations)),
        }


def monitored_operations(context: StepContext, head: Head | None) -> MonitoredOperations:
    """Look at the answers to the window's own events, in one reading of the log."""
    features = context.spec.features.columns
    columns = list(features)
    if head is not None:
        signature = Signature.model_validate(read_json(Path(head.bundle) / SIGNATURE))
        columns = logged_columns(columns, signature.logged)
    answers = logged_answers(context, context.window, [*_TOLD, *columns])
    operations: list[Operations] = []
    # A feature of such a name stands in the log in the place of what the server told.
    if not _NEEDED & features.keys():
        operations = measure_operations(answers, context.spec.monitor.operations)
    reference = read_json(Path(head.bundle) / REFERENCE) if head else {}
    watched: dict[str, Any] = {name: features[name] for name in columns}
    return MonitoredOperations(operations, input_statistics(answers, watched, reference))
