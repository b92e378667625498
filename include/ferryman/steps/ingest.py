"""Ingests a window: one immutable snapshot a day, not yet visible to anybody."""

from concurrent.futures import ThreadPoolExecutor
from typing import cast

from pydantic import Field, JsonValue

from ferryman.data.ingestion import IngestedWindow, Ingestion
from ferryman.data.open_sources import open_sources
from ferryman.data.query import QueryEngine
from ferryman.data.snapshots import Snapshot, SnapshotStore
from ferryman.errors import SpecError
from ferryman.runtime.messages import StepResult
from ferryman.spec.windows import Window, format_time
from ferryman.steps.contract import StepContext, StepParams


class Params(StepParams):
    """Why the window is ingested."""

    reason: str = Field(default="ingest", min_length=1, max_length=200)


def run(context: StepContext) -> StepResult:
    """Build every day of the window, then write them all: a bad day leaves nothing behind.

    Raises DataRejected (exit 3), SpecError (exit 2) or DependencyUnavailable (exit 6).
    """
    days = _days(context.window)
    sources = open_sources(context.model, context.settings.source_root, context.connections)
    workers = min(context.settings.core_count, len(days))
    # Each query runs on one thread (see data.query), so days run side by side instead.
    with QueryEngine() as engine, ThreadPoolExecutor(workers) as pool:
        ingestion = Ingestion(context.model, sources, engine)
        built = list(pool.map(ingestion.build, days))
    snapshots = [_write(context, ingestion, window) for window in built]
    new = sum(snapshot.new for snapshot in snapshots)
    rows = sum(snapshot.entry.rows for snapshot in snapshots)
    return context.result(
        text=f"{len(snapshots)} windows, {rows} rows; {new} snapshots are new",
        outputs={"snapshots": [_output(snapshot) for snapshot in snapshots]},
        metrics={"windows": len(snapshots), "rows": rows, "new_snapshots": new},
    )


def _days(window: Window) -> list[Window]:
    try:
        return list(window.days())
    except ValueError as error:
        raise SpecError(str(error), remedy="Give whole days, such as 2013-02-01.") from error


def _write(context: StepContext, ingestion: Ingestion, built: IngestedWindow) -> Snapshot:
    store = SnapshotStore(context.data_store)
    parent = store.current(context.model.name, built.window)
    entry = ingestion.entry(
        built,
        reason=cast(Params, context.params).reason,
        actor=context.settings.actor,
        code=context.settings.code_version,
        parents=[parent.id] if parent else [],
    )
    return store.write(context.model.name, built.window, built.features, built.labels, entry)


def _output(snapshot: Snapshot) -> JsonValue:
    return {
        "window": {
            "start": format_time(snapshot.window.start),
            "end": format_time(snapshot.window.end),
        },
        "id": snapshot.id,
        "rows": snapshot.entry.rows,
        "labels": snapshot.entry.labels,
        "new": snapshot.new,
    }
