"""The labels that clients posted, as the steps use them."""

from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ferryman.monitoring.label_inbox import resolve
from ferryman.runtime.connections import Connections
from ferryman.runtime.prediction_places import prediction_places
from ferryman.runtime.score_column import label_type
from ferryman.serving.labels.label_reading import read_posted
from ferryman.settings import Settings
from ferryman.spec.model import DeclaredModel
from ferryman.spec.windows import Window

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
