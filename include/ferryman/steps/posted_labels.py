"""The labels that clients posted, as the steps use them."""

from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ferryman.monitoring.label_inbox import resolve
from ferryman.monitoring.labels import last_labels
from ferryman.runtime.connections import Connections
from ferryman.runtime.prediction_places import prediction_places
from ferryman.runtime.score_column import label_type
from ferryman.serving.labels.label_reading import read_posted
from ferryman.settings import Settings
from ferryman.spec.model import DeclaredModel
from ferryman.spec.windows import Window
from ferryman.steps.contract import StepContext
from ferryman.steps.logged_answers import logged_answers

_INSTANT = timedelta(microseconds=1)


def posted_until(
    settings: Settings,
    connections: Connections,
    model: DeclaredModel,
    answers: Any,
    until: datetime,
) -> Any:
    """Label rows of what was posted since the first of some answers up to a moment; None for none.

    `answers`: logged predictions. Raises DependencyUnavailable (exit 6) where the log is away.
    """
    first = pc.min(answers["logged_at"]).as_py()
    if first is None or first >= until:
        return None
    span = Window(start=first, end=until + _INSTANT)
    places = prediction_places(settings, connections)
    posted, _ = read_posted(places, model.name, span, model.spec.train.task)
    posted, _ = of_declared_classes(posted, model)
    return label_rows(resolve(posted, answers).labels, model) if posted.num_rows else None


def with_posted(context: StepContext, day: Window, labels: Any) -> Any:
    """A snapshot's labels with those that were posted about the events that are due in a day.

    Of an event with several labels the one known last counts, taken back or not. What comes after
    the day is over is not in its snapshot, however late that is made.
    """
    due = day.shifted(-context.spec.data.label.known_after)
    places = prediction_places(context.settings, context.connections)
    span = Window(start=due.start, end=day.end)
    posted, _ = read_posted(places, context.model.name, span, context.spec.train.task)
    posted, _ = of_declared_classes(posted, context.model)
    if not posted.num_rows:
        return labels
    found = label_rows(resolve(posted, logged_answers(context, due)).labels, context.model)
    inside = pc.and_(
        pc.greater_equal(found["event_time"], pa.scalar(due.start)),
        pc.less(found["event_time"], pa.scalar(due.end)),
    )
    known = last_labels(pa.concat_tables([labels, found.filter(inside).cast(labels.schema)]))
    return known.sort_by([("event_time", "ascending"), ("entity_key", "ascending")])


def of_declared_classes(posted: Any, model: DeclaredModel) -> tuple[Any, int]:
    """Without labels that name no class of the declaration, and how many these were."""
    train = model.spec.train
    if train.task != "multiclass":
        return posted, 0
    known = pc.is_in(posted["label"], value_set=pa.array([*train.classes, None], pa.string()))
    kept = posted.filter(known)
    return kept, posted.num_rows - kept.num_rows


def label_rows(labels: Any, model: DeclaredModel) -> Any:
    """Resolved labels in the columns and types of a snapshot's labels."""
    moment = pa.timestamp("us", tz="UTC")
    kinds = {
        "entity_key": pa.string(),
        "event_time": moment,
        "label": label_type(model.spec.train.task),
        "known_at": moment,
    }
    return pa.table({name: labels[name].cast(kind) for name, kind in kinds.items()})


def without_rows(labels: Any, others: Any) -> Any:
    """Label rows that are not among others: what a snapshot took from the inbox is one label."""
    return labels.filter(pc.invert(pc.is_in(_names(labels), value_set=_names(others))))


def _names(labels: Any) -> Any:
    parts = [labels[name].cast(pa.string()) for name in ("entity_key", "label", "known_at")]
    joined = pc.binary_join_element_wise(
        *parts, "\n", null_handling="replace", null_replacement="\t"
    )
    return joined.combine_chunks()
