"""One day's labels joined to the predictions they are about, and days that must be joined again.

A joined day is a function of its inputs: the day's snapshot, the labels that were posted in it, and
the prediction log of the days that its labels are about. What it was joined from is kept, so that a
prediction file, a label file or a repaired snapshot that comes later is noticed.
"""

import logging
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ferryman.data.versions.snapshots import Snapshot, SnapshotStore
from ferryman.errors import DataRejected
from ferryman.monitoring.joined_windows import JoinedWindows
from ferryman.monitoring.label_inbox import (
    Inbox,
    days_about,
    days_of,
    resolve,
    spans,
    told_times,
)
from ferryman.monitoring.labels import JoinCounts, join, joined_schema
from ferryman.runtime.prediction_places import prediction_places
from ferryman.runtime.score_column import label_type
from ferryman.serving.labels.label_reading import label_files, read_posted
from ferryman.serving.log.log_sizes import LogSizes
from ferryman.spec.model import DeclaredModel
from ferryman.spec.windows import DAY, Window
from ferryman.steps.contract import StepContext
from ferryman.steps.known_then import snapshot_then
from ferryman.steps.logged_answers import logged_answers
from ferryman.steps.posted_labels import label_rows, of_declared_classes, without_rows

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class JoinedDay:
    """A joined day's file, and what was found.

    posted: labels that clients posted in it; ambiguous: those that name a request of several
    events; strange: those of another task or class than is declared by now.
    """

    file: Path
    counts: JoinCounts
    posted: int = 0
    ambiguous: int = 0
    strange: int = 0

    def as_outputs(self) -> dict[str, int]:
        """All counts by name."""
        told = {"posted": self.posted, "ambiguous": self.ambiguous, "strange": self.strange}
        return {**self.counts.as_outputs(), **told}


@dataclass
class DayJoiner:
    """Joins days of one run; what is asked of the log's files is asked once."""

    context: StepContext

    @cached_property
    def store(self) -> JoinedWindows:
        """The joined days."""
        return JoinedWindows(self.context.monitoring_root)

    @cached_property
    def _snapshots(self) -> SnapshotStore:
        return SnapshotStore(self.context.data_store)

    @cached_property
    def _places(self) -> Any:
        return prediction_places(self.context.settings, self.context.connections)

    @cached_property
    def _log(self) -> LogSizes:
        return LogSizes(self._places, self.context.model.name)

    def current(self, day: Window) -> Snapshot | None:
        """The day's published snapshot; for a backfill, the one of then."""
        return snapshot_then(self.context, self._snapshots, day)

    def join(self, day: Window, snapshot: Snapshot) -> JoinedDay:
        """Join a day and keep it, in place of what was there.

        Raises DataRejected (exit 3) where the snapshot's labels are of an older declaration.
        """
        context, name = self.context, self.context.model.name
        train = context.spec.train
        labels = self._snapshots.read_labels(snapshot)
        refuse_older_labels(labels, context.model, day)
        files = len(label_files(self._places, name, day))
        posted, strange = read_posted(self._places, name, day, train.task)
        posted, others = of_declared_classes(posted, context.model)
        due = day.shifted(-context.spec.data.label.known_after)
        days = self._days(day, due, labels, posted)
        # Before anything is read: what comes meanwhile is then noticed the next time.
        log = {str(one): [self._log.listing(one), self._log.rows(one)] for one in sorted(days)}
        answers = pa.concat_tables(
            [logged_answers(context, span) for span in spans(days)], promote_options="permissive"
        )
        inbox = resolve(posted, answers)
        posted_rows = label_rows(inbox.labels, context.model)
        if context.spec.data.label.posted:
            posted_rows = without_rows(posted_rows, labels)
        known = pa.concat_tables([labels, posted_rows])
        joined, counts = join(
            known,
            answers,
            due,
            joined_schema(train.task, train.classes),
            before=self._before(day, inbox, labels, due),
        )
        file = self.store.write(name, day, joined)
        inputs = {"snapshot": snapshot.id, "posted": posted.num_rows, "files": files, "log": log}
        self.store.write_inputs(name, day, inputs)
        return JoinedDay(file, counts, inbox.posted, inbox.ambiguous, strange + others)

    def outdated(self, window: Window) -> list[Window]:
        """The days before a window whose inputs are more by now, as long as labels may mature.

        What is less by now was removed after its time: what was joined from it stays.
        """
        first = window.start - self.context.spec.monitor.quality.matures
        days = self.store.windows(self.context.model.name)
        return [day for day in days if first <= day.start < window.start and self._has_more(day)]

    def _has_more(self, day: Window) -> bool:
        name = self.context.model.name
        inputs = self.store.inputs(name, day)
        if inputs is None:
            return False
        snapshot = self.current(day)
        if snapshot is None:
            return False
        if snapshot.id != inputs["snapshot"]:
            return True
        if len(label_files(self._places, name, day)) > inputs["files"]:
            return True
        for text, (listing, rows) in inputs["log"].items():
            one = date.fromisoformat(text)
            if self._log.listing(one) != listing and self._log.rows(one) > rows:
                return True
        return False

    def _days(self, day: Window, due: Window, labels: Any, posted: Any) -> set[date]:
        """The days of events whose predictions may be asked for."""
        times = told_times(posted)
        days = {one.start.date() for one in _days_touching(due)}
        days |= days_of(labels["event_time"]) | days_of(times)
        if times.null_count:
            days |= days_about(day, self.context.spec.monitor.quality.matures)
        return days

    def _before(self, day: Window, inbox: Inbox, labels: Any, due: Window) -> Any:
        """What earlier days knew; not read where all labels are of events whose time it is."""
        name, train = self.context.model.name, self.context.spec.train
        start = day.start - self.context.spec.monitor.quality.matures
        times = pc.min_max(labels["event_time"]).as_py()
        in_time = times["min"] is None or (due.start <= times["min"] and times["max"] < due.end)
        if in_time and not inbox.posted and not self._was_posted(start, day):
            return None
        return self.store.read(name, start, day.start, task=train.task, classes=train.classes)

    def _was_posted(self, start: Any, day: Window) -> bool:
        name = self.context.model.name
        days = [one for one in self.store.windows(name) if start <= one.start < day.start]
        return any((self.store.inputs(name, one) or {}).get("posted") for one in days)


def rejoin(joiner: DayJoiner, day: Window) -> bool:
    """Join an earlier day again; False, and why in the log, where its labels cannot be used."""
    snapshot = joiner.current(day)
    if snapshot is None:
        return False
    try:
        joiner.join(day, snapshot)
    except DataRejected as error:
        logger.warning("%s is not joined again: %s", day, error)
        return False
    return True


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


def _days_touching(span: Window) -> list[Window]:
    """The days, UTC, that a span touches."""
    start = span.start.replace(hour=0, minute=0, second=0, microsecond=0)
    days = []
    while start < span.end:
        days.append(Window(start=start, end=start + DAY))
        start += DAY
    return days
