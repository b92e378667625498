"""Losses of joined rows, as a diagnosis compares them: of slices, and of two versions."""

from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ferryman.evaluation.row_losses import compared_metric, row_losses
from ferryman.monitoring.diagnosis import Change
from ferryman.monitoring.diagnosis_release import weighed_release
from ferryman.monitoring.diagnosis_slices import Floats, Losses
from ferryman.monitoring.joined_windows import JoinedWindows
from ferryman.monitoring.quality_windows import day_numbers
from ferryman.runtime.score_column import score_array
from ferryman.steps.contract import StepContext
from ferryman.training.labels import encode_labels


def labelled_rows(context: StepContext, start: datetime, end: datetime) -> Any:
    """The joined rows whose labels became known in [start, end)."""
    train, store = context.spec.train, JoinedWindows(context.monitoring_root)
    joined = store.read(context.model.name, start, end, task=train.task, classes=train.classes)
    return joined.filter(pc.is_valid(joined["label"]))


def losses_of(context: StepContext, joined: Any) -> Floats:
    """The loss of each labelled row by the metric that is watched; not finite where it has none."""
    train = context.spec.train
    metric = compared_metric(train.task, context.spec.monitor.quality.metric, "log_loss")
    labels = encode_labels(joined["label"].to_pandas(), train)
    return np.asarray(row_losses(train.task, metric, labels, score_array(joined["score"])))


def days_of(joined: Any) -> Any:
    """The event day of each row, as a number."""
    return np.asarray(day_numbers(joined["event_time"]), dtype=np.int64)


def weighed(context: StepContext, change: Change, start: datetime) -> Change:
    """A release by what its version's answers lost since `start`; any other change as it is."""
    if change.kind != "version":
        return change
    joined = labelled_rows(context, start, context.window.end)
    sides = []
    for version in (change.facts["then"], change.facts["now"]):
        own = joined.filter(pc.equal(joined["version"], version))
        losses = losses_of(context, own)
        finite = np.isfinite(losses)
        sides.append(Losses(losses[finite], days_of(own.filter(pa.array(finite)))))
    return weighed_release(change, *sides)
