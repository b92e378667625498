"""Measures the served model: quality on labelled predictions, drift of its inputs."""

from collections.abc import Collection
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import JsonValue

from ferryman.evaluation.intervals import bootstrap
from ferryman.evaluation.measures import make_measures
from ferryman.ledger.ledger import Ledger
from ferryman.ledger.records import Head, State
from ferryman.monitoring.drift import ColumnDrift, compare
from ferryman.monitoring.joined_windows import JoinedWindows
from ferryman.monitoring.labels import answers_only
from ferryman.monitoring.quality import Labels, Quality, Scores, measure
from ferryman.runtime.bundle import REFERENCE, SIGNATURE, Signature
from ferryman.runtime.files import read_json, write_json
from ferryman.runtime.messages import StepResult
from ferryman.runtime.prediction_places import prediction_places
from ferryman.serving.log.prediction_log import read_predictions
from ferryman.steps.contract import StepContext, StepParams
from ferryman.steps.drill_requests import without_drills
from ferryman.training.labels import encode_labels

_CONFIDENCE = 0.95
_RESAMPLES = 500


class Params(StepParams):
    """No parameters."""


def run(context: StepContext) -> StepResult:
    """Measure the trailing windows that end with this one, and write the report.

    `quality` counts every served prediction, `champion_quality` only those of the version that the
    ledger names: what an older version did is no evidence against the one that replaced it.
    """
    head = Ledger(context.settings.ledger_url).head(context.model.name)
    joined = _joined(context)
    quality = _measure(context, joined)
    own = joined.filter(pc.equal(joined["version"], head.version)) if head else joined.slice(0, 0)
    champion_quality = quality if own.num_rows == joined.num_rows else _measure(context, own)
    columns = _drift(context, head)
    drifted = [column.column for column in columns if column.drifted]
    watched = sum(column.outcome != "not_logged" for column in columns)
    outputs: dict[str, JsonValue] = {
        "quality": quality.as_json(),
        "champion_quality": champion_quality.as_json(),
        "champion": _champion(context, head),
        "drifted": list(drifted),
    }
    report = _write_report(context, outputs, columns)
    return context.result(
        text=f"{quality.text}; {len(drifted)} of {watched} columns drifted",
        outputs={**outputs, "report": str(report)},
        metrics=_metrics(quality, columns),
        artifacts={"report": str(report)},
    )


def _joined(context: StepContext) -> Any:
    end = context.window.end
    store = JoinedWindows(context.settings.monitoring_root)
    train, start = context.spec.train, end - context.spec.monitor.quality.window
    return store.read(context.model.name, start, end, task=train.task, classes=train.classes)


def _measure(context: StepContext, joined: Any) -> Quality:
    train = context.spec.train
    measures = make_measures(train.task, train.classes)

    def interval(labels: Labels, scores: Scores, metric: str) -> tuple[float, float] | None:
        found = bootstrap(
            measures,
            labels,
            scores,
            metrics=[metric],
            confidence=_CONFIDENCE,
            resamples=_RESAMPLES,
            seed=train.seed,
        )[metric]
        return (found.low, found.high) if found else None

    return measure(
        joined,
        context.spec.monitor.quality,
        measures.score,
        interval,
        encode=lambda column: encode_labels(column.to_pandas(), train),
        confidence=_CONFIDENCE,
    )


def _drift(context: StepContext, head: Head | None) -> list[ColumnDrift]:
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


def _champion(context: StepContext, head: Head | None) -> dict[str, JsonValue] | None:
    """Who serves, on data up to when, and the figure that the gate saw."""
    if head is None:
        return None
    metric = context.spec.monitor.quality.metric
    return {
        "version": head.version,
        "epoch": head.epoch,
        "cutoff": _cutoff(context, head),
        "gate_value": _gate_value(context, head, metric),
    }


def _cutoff(context: StepContext, head: Head) -> str:
    """Of the data that the champion learned from: after a rollback older than the head's order."""
    history = Ledger(context.settings.ledger_url).history(context.model.name)
    own = (op.candidate for op in reversed(history) if op.candidate.digest == head.digest)
    return next((candidate.cutoff for candidate in own), head.order_key.cutoff)


def _gate_value(context: StepContext, head: Head, metric: str) -> float | None:
    """The candidate's figure in the verdict that let the champion pass."""
    history = Ledger(context.settings.ledger_url).history(context.model.name)
    for op in reversed(history):
        if op.state is State.GATED and op.candidate.digest == head.digest:
            value = op.evidence["candidate"].get(metric)
            return None if value is None else float(value)
    return None


def _write_report(
    context: StepContext, outputs: dict[str, JsonValue], columns: list[ColumnDrift]
) -> Path:
    root = context.settings.monitoring_root / context.model.name / "reports"
    file = root / f"{context.window.key}.json"
    window = {name: _time(moment) for name, moment in context.window.model_dump().items()}
    report = {**outputs, "window": window, "columns": [column.as_json() for column in columns]}
    write_json(file, report)
    return file


def _time(moment: datetime) -> str:
    return moment.isoformat()


def _metrics(quality: Quality, columns: list[ColumnDrift]) -> dict[str, float | None]:
    largest = [column.psi for column in columns if column.psi is not None]
    return {
        **(quality.metrics or {}),
        quality.metric: quality.value,
        f"{quality.metric}_low": quality.low,
        f"{quality.metric}_high": quality.high,
        "labelled": float(quality.labelled),
        "predicted": float(quality.predicted),
        "coverage": quality.coverage,
        "drifted_columns": float(sum(column.drifted for column in columns)),
        "largest_stability_index": max(largest, default=None),
    }
