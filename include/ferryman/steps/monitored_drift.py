"""What `monitor` says of drift: the inputs of late against the champion's training data."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import JsonValue

from ferryman.ledger.ledger import Ledger
from ferryman.ledger.records import Head
from ferryman.monitoring.drift import ColumnDrift, compare
from ferryman.monitoring.labels import answers_only
from ferryman.runtime.bundle import REFERENCE, SIGNATURE, Signature
from ferryman.runtime.files import read_json
from ferryman.runtime.prediction_places import prediction_places
from ferryman.serving.log.prediction_log import read_predictions
from ferryman.steps.contract import StepContext
from ferryman.steps.drill_requests import without_drills


@dataclass(frozen=True)
class MonitoredDrift:
    """Drift over the trailing window, column by column."""

    columns: Sequence[ColumnDrift]

    @property
    def drifted(self) -> list[str]:
        """The columns that call for attention."""
        return [column.column for column in self.columns if column.drifted]

    @property
    def text(self) -> str:
        """One line for people."""
        watched = sum(column.outcome != "not_logged" for column in self.columns)
        return f"{len(self.drifted)} of {watched} columns drifted"

    def outputs(self) -> dict[str, JsonValue]:
        """For the step's result, and the report."""
        return {"drifted": list(self.drifted)}

    def report(self) -> dict[str, JsonValue]:
        """For the report alone."""
        return {"columns": [column.as_json() for column in self.columns]}

    def metrics(self) -> dict[str, float | None]:
        """For the step's result."""
        largest = [column.psi for column in self.columns if column.psi is not None]
        return {
            "drifted_columns": float(len(self.drifted)),
            "largest_stability_index": max(largest, default=None),
        }


def monitored_drift(context: StepContext, head: Head | None) -> MonitoredDrift:
    """Compare the trailing window that ends with this one."""
    return MonitoredDrift(_columns(context, head))


def _columns(context: StepContext, head: Head | None) -> list[ColumnDrift]:
    """Compare the trailing logged inputs with the profile of the champion's training data."""
    if head is None:
        return []
    spec, end = context.spec.monitor.drift, context.window.end
    reference = read_json(Path(head.bundle) / REFERENCE)
    places = prediction_places(context.settings, context.connections)
    table = read_predictions(places, context.model.name, end - spec.window, end)
    table = answers_only(table, context.spec.features.columns)
    table = without_drills(table, Ledger(context.settings.ledger_url), context.model.name)
    # What the champion was packaged to log; the declaration may say something else by now.
    logged = Signature.model_validate(read_json(Path(head.bundle) / SIGNATURE)).logged
    table = _as_logged(context, table, head, logged)
    return compare(reference, table, context.spec.features.columns, spec, logged)


def _as_logged(context: StepContext, table: Any, head: Head, logged: Collection[str] | None) -> Any:
    """The rows but those of versions that log less: what they leave out would look like nulls."""
    watched = set(context.spec.features.columns if logged is None else logged)
    history = Ledger(context.settings.ledger_url).history(context.model.name)
    bundles = {op.candidate.version: Path(op.candidate.bundle) for op in history}
    others = set(pc.unique(table["version"]).to_pylist()) - {head.version}
    lacking = []
    for version in sorted(others & bundles.keys()):
        file = bundles[version] / SIGNATURE
        kept = Signature.model_validate(read_json(file)).logged if file.is_file() else None
        if kept is not None and not watched <= set(kept):
            lacking.append(version)
    unfit = pc.is_in(table["version"], value_set=pa.array(lacking, table["version"].type))
    return table.filter(pc.invert(unfit))
