"""Ingests a window: one immutable snapshot a day, not yet visible to anybody."""

import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

from pydantic import Field, JsonValue

from ferryman.data.rows.cleaning import RowsRejected
from ferryman.data.sources.open_sources import open_sources
from ferryman.data.versions.catalogue_entry import SourceUse
from ferryman.data.versions.snapshots import Snapshot, SnapshotStore
from ferryman.data.windows.ingestion import Ingestion
from ferryman.data.windows.query import QueryEngine
from ferryman.errors import DataRejected, SpecError
from ferryman.runtime.files import space_errors
from ferryman.runtime.messages import StepResult
from ferryman.spec.windows import Window, format_time
from ferryman.steps.contract import Reason, StepContext, StepParams
from ferryman.steps.posted_labels import with_posted
from ferryman.training.run_keys import code_version

_REJECTED = "quarantine.parquet"
_SHOWN_REASONS = 5

logger = logging.getLogger(__name__)


class Params(StepParams):
    """Why the window is ingested, and whether values that were known too late are let in."""

    reason: str = Field(default="ingest", min_length=1, max_length=200)
    accept_leakage: Reason | None = Field(
        default=None,
        description="Why values that became known after their event are accepted; recorded.",
    )


@dataclass(frozen=True)
class _Written:
    """A day's snapshot, what cleaning did to its rows, and what was accepted."""

    snapshot: Snapshot
    uses: dict[str, SourceUse]
    late: tuple[str, ...]


def run(context: StepContext) -> StepResult:
    """Build and write each day; one bad day fails them all, and nothing of any is published.

    Memory holds a few days at a time. Raises DataRejected (exit 3), GateRefused (exit 4), SpecError
    (exit 2) or DependencyUnavailable (exit 6).
    """
    days = _days(context.window)
    sources = open_sources(context.model, context.settings.source_root, context.connections)
    accepted = cast(Params, context.params).accept_leakage
    workers, code = min(context.settings.core_count, len(days)), code_version(context.settings)
    # Each query runs on one thread (see data.windows.query), so days run side by side instead.
    with _kept_rejects(context), QueryEngine() as engine, ThreadPoolExecutor(workers) as pool:
        ingestion = Ingestion(context.model, sources, engine, accepted=accepted)
        written = list(pool.map(lambda day: _write(context, ingestion, day, code), days))
    return _result(context, written)


@contextmanager
def _kept_rejects(context: StepContext) -> Iterator[None]:
    """Keep the rows that made a window be rejected, in the run's folder, and say where."""
    try:
        yield
    except RowsRejected as error:
        import pyarrow.parquet as pq

        file = context.folder / _REJECTED
        scratch = file.with_name(f".{_REJECTED}")
        with space_errors(file):
            pq.write_table(error.cleaning.quarantine, scratch, compression="zstd")
            scratch.replace(file)
        raise DataRejected(
            error.text, remedy=f"Each of these rows, with its reason, is in {file}. {error.remedy}"
        ) from error


def _days(window: Window) -> list[Window]:
    try:
        return list(window.days())
    except ValueError as error:
        raise SpecError(str(error), remedy="Give whole days, such as 2013-02-01.") from error


def _write(context: StepContext, ingestion: Ingestion, day: Window, code: str) -> _Written:
    """Build one day and write it; nobody sees it before it is published."""
    store = SnapshotStore(context.data_store)
    built = ingestion.build(day)
    parent = store.current(context.model.name, day)
    entry = ingestion.entry(
        built,
        reason=cast(Params, context.params).reason,
        actor=context.settings.actor,
        code=code,
        parents=[parent.id] if parent else [],
    )
    for text in entry.overrides:
        logger.warning("%s, window %s: %s", context.model.name, day, text)
    labels = built.labels
    if context.spec.data.label.posted:
        labels = with_posted(context, day, labels)
    snapshot = store.write(
        context.model.name, day, built.features, labels, entry, quarantine=built.quarantine
    )
    return _Written(snapshot, dict(built.sources), built.late)


def _result(context: StepContext, written: Sequence[_Written]) -> StepResult:
    snapshots = [day.snapshot for day in written]
    new = sum(snapshot.new for snapshot in snapshots)
    rows = sum(snapshot.entry.rows for snapshot in snapshots)
    cleaning = _cleaning(written)
    dropped = sum(use["dropped"] for use in cleaning.values())
    changed = sum(use["changed"] for use in cleaning.values())
    late = [text for day in written for text in day.late]
    accepted = f"; {len(late)} accepted although known too late" if late else ""
    return context.result(
        text=f"{len(snapshots)} windows, {rows} rows; {new} snapshots are new"
        f"{_told(cleaning, dropped, changed)}{accepted}",
        outputs={
            "snapshots": [_output(snapshot) for snapshot in snapshots],
            "cleaning": cast(JsonValue, cleaning),
            "accepted": cast(JsonValue, late[:_SHOWN_REASONS]),
        },
        metrics={
            "windows": len(snapshots),
            "rows": rows,
            "new_snapshots": new,
            "dropped": dropped,
            "changed": changed,
        },
    )


def _cleaning(written: Sequence[_Written]) -> dict[str, dict[str, Any]]:
    """What was dropped and changed, by source and reason, over all days."""
    total: dict[str, dict[str, Any]] = {}
    for day in written:
        for name, use in day.uses.items():
            sums = total.setdefault(name, {"dropped": 0, "changed": 0, "reasons": {}})
            sums["dropped"] += use.dropped
            sums["changed"] += use.changed
            for reason, count in use.counts.items():
                sums["reasons"][reason] = sums["reasons"].get(reason, 0) + count
    return total


def _told(cleaning: dict[str, dict[str, Any]], dropped: int, changed: int) -> str:
    """`; 3 rows dropped, 2 changed (planes: column 'seats': is above 900: 3, ...)`."""
    if not dropped and not changed:
        return ""
    reasons = [
        (count, f"{name}: {reason}: {count}")
        for name, sums in cleaning.items()
        for reason, count in sums["reasons"].items()
    ]
    reasons.sort(key=lambda pair: (-pair[0], pair[1]))
    shown = [text for _, text in reasons[:_SHOWN_REASONS]]
    more = len(reasons) - len(shown)
    shown += [f"and {more} more reasons"] if more > 0 else []
    return f"; {dropped} rows dropped, {changed} changed ({'; '.join(shown)})"


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
