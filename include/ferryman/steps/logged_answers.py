"""The logged predictions that somebody was answered with, as monitoring reads them."""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ferryman.ledger.ledger import Ledger
from ferryman.monitoring.labels import answers_only
from ferryman.runtime.prediction_places import prediction_places
from ferryman.serving.log.prediction_log import read_predictions
from ferryman.spec.windows import Window
from ferryman.steps.contract import StepContext
from ferryman.steps.drill_requests import without_drills

# What tells one answer from another, and whose it was.
_TOLD = ("request_id", "entity_key", "event_time", "version", "epoch", "variant", "logged_at")


def logged_answers(context: StepContext, span: Window, columns: Sequence[str] = ()) -> Any:
    """The answers to events of a span, without shadows' and drills'; scores are of the task.

    A table of _TOLD, score and `columns`; of features those that are there. A backfill sees what
    was logged by then. Raises
    DependencyUnavailable (exit 6) where the log is away, IntegrityBroken (exit 7) for a bad file.
    """
    train, features = context.spec.train, context.spec.features.columns
    places = prediction_places(context.settings, context.connections)
    wanted = [*dict.fromkeys((*_TOLD, "score", *columns))]
    table = read_predictions(
        places,
        context.model.name,
        span.start,
        span.end,
        task=train.task,
        classes=train.classes,
        columns=wanted,
    )
    if context.known_until is not None:
        moment = pa.scalar(context.known_until, table.schema.field("logged_at").type)
        table = table.filter(pc.less_equal(table["logged_at"], moment))
    table = answers_only(table, features)
    return without_drills(table, Ledger(context.settings.ledger_url), context.model.name)
