"""Joins the labels that became known in a window to the predictions that were logged."""

from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from ferryman.data.versions.snapshots import SnapshotStore
from ferryman.errors import DataRejected, DependencyUnavailable
from ferryman.ledger.ledger import Ledger
from ferryman.monitoring.joined_windows import JoinedWindows
from ferryman.monitoring.labels import JoinCounts, answers_only, join, joined_schema
from ferryman.runtime.messages import StepResult
from ferryman.runtime.prediction_places import prediction_places
from ferryman.runtime.score_column import label_type
from ferryman.serving.log.prediction_log import read_predictions
from ferryman.spec.model import DeclaredModel
from ferryman.spec.windows import Window
from ferryman.steps.contract import StepContext, StepParams
from ferryman.steps.drill_requests import without_drills


class Params(StepParams):
    """No parameters."""


def run(context: StepContext) -> StepResult:
    """Join each day of the window; a day that was joined before is replaced as a whole."""
    days = list(context.window.days())
    done = [_join_day(context, day) for day in days]
    totals: Counter[str] = Counter()
    for _, counts in done:
        totals.update(counts.as_outputs())
    text = (
        f"{totals['matched']} labels joined to {totals['predicted']} predictions; "
        f"{totals['unmatched']} labels without one, {totals['unlabelled']} events without label"
    )
    return context.result(
        text=text,
        outputs={
            "joined": str(done[-1][0]),
            "windows": [str(file) for file, _ in done],
            **{name: int(totals[name]) for name in done[0][1].as_outputs()},
        },
        metrics={name: float(totals[name]) for name in ("matched", "unmatched", "unlabelled")},
        artifacts={"joined": str(done[-1][0])},
    )


def _join_day(context: StepContext, day: Window) -> tuple[Path, JoinCounts]:
    model, settings = context.model.name, context.settings
    store = SnapshotStore(context.data_store)
    snapshot = store.current(model, day)
    if snapshot is None:
        raise DependencyUnavailable(
            f"window {day} of {model!r} has no published snapshot, so no labels",
            remedy=f"Ingest it first: ferryman run ingest --model {model} "
            f"--window {day.start:%Y-%m-%d}.",
        )
    labels = store.read_labels(snapshot)
    refuse_older_labels(labels, context.model, day)
    due = day.shifted(-context.spec.data.label.known_after)
    start, end = _span(labels, due)
    task, classes = context.spec.train.task, context.spec.train.classes
    places = prediction_places(settings, context.connections)
    logged = read_predictions(places, model, start, end, task=task, classes=classes)
    logged = answers_only(logged, context.spec.features.columns)
    logged = without_drills(logged, Ledger(settings.ledger_url), model)
    joined, counts = join(labels, logged, due, joined_schema(task, classes))
    file = JoinedWindows(settings.monitoring_root).write(model, day, joined)
    return file, counts


def refuse_older_labels(labels: Any, model: DeclaredModel, day: Window) -> None:
    """DataRejected (exit 3) where a window's labels are of a declaration that stands no more."""
    train = model.spec.train
    column, wanted = labels["label"], label_type(train.task)
    strange = [] if column.type == wanted else [f"of type {column.type}"]
    if not strange and train.task == "multiclass":
        told = pc.unique(column.drop_null()).to_pylist()
        strange = [repr(name)[:60] for name in told if name not in train.classes]
    if strange:
        raise DataRejected(
            f"the labels of window {day} are {', '.join(strange[:5])}, and {model.name!r} "
            f"is declared {train.task}{' of other classes' if train.classes else ''} by now",
            remedy=f"Ingest it again: ferryman run ingest --model {model.name} "
            f"--window {day.start:%Y-%m-%d}.",
        )


def _span(labels: Any, due: Window) -> tuple[datetime, datetime]:
    """The span of event times to read: the events that are due, and older ones labelled late."""
    if labels.num_rows == 0:
        return due.start, due.end
    times = pc.min_max(labels["event_time"]).as_py()
    oldest, newest = times["min"] or due.start, times["max"] or due.start
    # The newest event itself must lie inside the half-open span.
    return min(oldest, due.start), max(newest + timedelta(microseconds=1), due.end)
