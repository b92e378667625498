"""Sends a window's feature rows to the serving endpoint, as its clients would."""

import logging
import math
from typing import Any

from ferryman.data.versions.snapshots import SnapshotStore
from ferryman.errors import DependencyUnavailable
from ferryman.monitoring.labels import answers_only
from ferryman.runtime.messages import StepResult
from ferryman.runtime.prediction_places import prediction_places
from ferryman.serving.client import ServingClient
from ferryman.serving.log.prediction_log import read_predictions
from ferryman.spec.windows import Window, format_time
from ferryman.steps.contract import StepContext, StepParams
from ferryman.steps.model_servers import endpoint_for, has_administration

_BATCH = 500

logger = logging.getLogger(__name__)


class Params(StepParams):
    """What kind of run sends; the window says which rows."""

    backfill: bool = False


def run(context: StepContext) -> StepResult:
    """Score every event of the window that the prediction log does not hold yet.

    A backfill sends nothing: what was not asked then cannot be answered as of then.
    Raises DataRejected (exit 3) when the server refuses a row, DependencyUnavailable (exit 6) when
    a day's snapshot is not published yet or the server is away.
    """
    if context.restates:
        return context.result(text="a backfill sends nothing", outputs={"sent": 0, "already": 0})
    settings, model, window = context.settings, context.spec.name, context.window
    rows = [row for day in window.days() for row in _feature_rows(context, day)]
    flushes = has_administration(settings, context.spec)
    with ServingClient(endpoint_for(settings, context.spec)) as client:
        if flushes:
            # What an interrupted attempt sent may still be in the server's queue.
            client.flush()
        places = prediction_places(settings, context.connections)
        logged = read_predictions(places, model, window.start, window.end)
        answered = answers_only(logged, context.spec.features.columns)
        known = set(answered["entity_key"].to_pylist())
        missing = [row for row in rows if row["entity_key"] not in known]
        for start in range(0, len(missing), _BATCH):
            chunk = missing[start : start + _BATCH]
            # A request is drawn for one variant as a whole: beside a candidate each row is sent
            # alone, as its client did.
            shared = flushes and client.traffic(model) is not None
            for rows_of_one in [[row] for row in chunk] if shared else [chunk]:
                client.predict(model, rows_of_one)
        if flushes:
            client.flush()
    already = len(rows) - len(missing)
    return context.result(
        text=f"{len(missing)} rows of {window} scored, {already} were already",
        outputs={"sent": len(missing), "already": already},
        metrics={"sent": len(missing), "already": already},
    )


def _feature_rows(context: StepContext, day: Window) -> list[dict[str, Any]]:
    store = SnapshotStore(context.data_store)
    snapshot = store.current(context.spec.name, day)
    if snapshot is None:
        raise DependencyUnavailable(
            f"{context.spec.name} has no published snapshot of {day}",
            remedy=f"Run ingest for {day.start:%Y-%m-%d} first.",
        )
    columns = ["entity_key", "event_time", *context.spec.features.columns]
    table = store.read_features(snapshot).select(columns)
    return [{name: _as_json(value) for name, value in row.items()} for row in table.to_pylist()]


def _as_json(value: Any) -> Any:
    """JSON has no NaN and no times: null and ISO 8601 stand for them."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return format_time(value) if hasattr(value, "astimezone") else value
