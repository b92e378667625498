"""Holds the ingested windows against expectations.yaml, then lets readers see them."""

from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from ferryman.data.validation.data_docs import WindowDocs, write_data_docs
from ferryman.data.versions.snapshots import Snapshot, SnapshotStore
from ferryman.errors import DataRejected, SpecError
from ferryman.runtime.files import write_json
from ferryman.runtime.messages import StepResult
from ferryman.runtime.run_store import DATA_DOCS, DOCS_INDEX
from ferryman.spec.windows import Window, format_time
from ferryman.steps.contract import StepContext, StepParams

_SHOWN_FAILURES = 5


class Params(StepParams):
    """Why the windows are published."""

    reason: str = Field(default="ingest", min_length=1, max_length=200)


class _Ingested(BaseModel):
    """One snapshot in the result of `ingest`."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    window: Window
    id: str


def run(context: StepContext) -> StepResult:
    """Run the suite on every snapshot; publish all of them, or none.

    Raises DataRejected (exit 3) with column, expectation and first bad rows; the report and Data
    Docs are written either way.
    """
    store = SnapshotStore(context.data_store)
    snapshots = [store.get(context.model.name, entry.id) for entry in _ingested(context)]
    report = _validate(context, store, snapshots)
    file = context.folder / "expectations.json"
    write_json(file, report)
    _refuse_failures(report, file)
    for snapshot in snapshots:
        store.publish(
            context.model.name,
            snapshot.window,
            snapshot.id,
            cast(Params, context.params).reason,
            context.settings.actor,
        )
    checked = sum(len(window["outcomes"]) for window in report["windows"])
    return context.result(
        text=f"{len(snapshots)} windows published, {checked} expectations met",
        outputs={
            "published": [
                {"window": _window(snapshot), "id": snapshot.id} for snapshot in snapshots
            ],
            "report": str(file),
        },
        metrics={"windows": len(snapshots), "expectations": checked},
        artifacts={"report": str(file), **_docs(context)},
    )


def _ingested(context: StepContext) -> list[_Ingested]:
    given = context.earlier("ingest").outputs.get("snapshots")
    try:
        entries = [_Ingested.model_validate(entry) for entry in given or []]  # type: ignore[union-attr]
    except (TypeError, ValidationError) as error:
        raise SpecError(f"the result of 'ingest' names no snapshots: {error}") from error
    if not entries:
        raise SpecError("the result of 'ingest' names no snapshots")
    return entries


def _validate(
    context: StepContext, store: SnapshotStore, snapshots: list[Snapshot]
) -> dict[str, Any]:
    """The report: every outcome of every window, as JSON values."""
    name = context.spec.expectations
    if name is None:
        unchecked = [{"window": _window(snapshot), "outcomes": []} for snapshot in snapshots]
        return {"suite": None, "success": True, "windows": unchecked}
    from ferryman.data.validation.expectation_file import read_expectations
    from ferryman.data.validation.expectations import ExpectationSuite

    file = context.model.folder / name
    columns = ["entity_key", "event_time", *context.spec.features.columns]
    suite = ExpectationSuite(file, read_expectations(file, columns))
    windows: list[dict[str, Any]] = []
    docs: list[WindowDocs] = []
    for snapshot in snapshots:
        validation = suite.validate(store.read_features(snapshot, columns))
        docs.append(WindowDocs(f"{snapshot.window.start:%Y-%m-%d}", validation))
        told = [{**asdict(o), "text": o.explain()} for o in validation.outcomes]
        windows.append({"window": _window(snapshot), "snapshot": snapshot.id, "outcomes": told})
    write_data_docs(context.folder / DATA_DOCS, context.model.name, docs)
    success = all(one.validation.success for one in docs)
    return {"suite": str(file), "success": success, "windows": windows}


def _docs(context: StepContext) -> dict[str, str]:
    index = context.folder / DATA_DOCS / DOCS_INDEX
    return {"data_docs": str(index)} if index.is_file() else {}


def _refuse_failures(report: dict[str, Any], file: Path) -> None:
    failures = [
        f"window {window['window']['start'][:10]}: {outcome['text']}"
        for window in report["windows"]
        for outcome in window["outcomes"]
        if not outcome["success"]
    ]
    if not failures:
        return
    more = len(failures) - _SHOWN_FAILURES
    shown = "; ".join(failures[:_SHOWN_FAILURES]) + (f"; and {more} more" if more > 0 else "")
    raise DataRejected(
        f"{report['suite']}: {shown}",
        remedy=f"Repair the data, or correct the expectation; the whole report: {file}.",
    )


def _window(snapshot: Snapshot) -> dict[str, JsonValue]:
    return {
        "start": format_time(snapshot.window.start),
        "end": format_time(snapshot.window.end),
    }
