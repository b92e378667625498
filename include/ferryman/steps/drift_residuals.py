"""Scores and residuals of the champion's answers, as numbers whatever the task."""

from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ferryman.ledger.records import Head
from ferryman.monitoring.drift_concept import Residuals
from ferryman.monitoring.joined_windows import JoinedWindows
from ferryman.runtime.score_column import score_array
from ferryman.steps.contract import StepContext
from ferryman.training.labels import encode_labels


def single_score(column: Any) -> Any:
    """One number an answer: its score, or of several classes that of the surest one."""
    if not pa.types.is_list(column.type):
        return column
    scores = np.full(len(column), np.nan)
    valid = pc.is_valid(column).to_numpy(zero_copy_only=False)
    known = score_array(pc.drop_null(column))
    if len(known):
        scores[valid] = known.max(axis=1)
    return pa.array(scores, from_pandas=True)


def champion_residuals(context: StepContext, head: Head, *, since: datetime) -> Residuals:
    """Label less score of the champion's labelled answers since a moment, up to the window's end.

    Of several classes: whether the surest one was right, less how sure it was.
    """
    train = context.spec.train
    store = JoinedWindows(context.monitoring_root)
    joined = store.read(
        context.model.name, since, context.window.end, task=train.task, classes=train.classes
    )
    known = joined.filter(
        pc.and_(pc.equal(joined["version"], head.version), pc.is_valid(joined["label"]))
    )
    if not known.num_rows:
        empty = np.zeros(0)
        return Residuals(empty.astype(np.int64), empty, empty)
    labels = encode_labels(known["label"].to_pandas(), train)
    scores = score_array(known["score"])
    if scores.ndim > 1:
        labels, scores = scores.argmax(axis=1) == labels, scores.max(axis=1)
    moments = known["event_time"].to_numpy(zero_copy_only=False)
    return Residuals(
        moments.astype("datetime64[D]").astype(np.int64),
        scores,
        labels.astype(np.float64) - scores,
    )
