"""What a backfill of monitoring sees of the past: champion, releases and snapshots as they were.

Only that counts which was there at the moment of StepContext.known_until; of the prediction log too
(logged_answers). Labels count by the window in which they became known.
"""

import logging
from pathlib import Path

from ferryman.data.versions.snapshots import Snapshot, SnapshotStore
from ferryman.errors import IntegrityBroken
from ferryman.ledger.ledger import Ledger
from ferryman.ledger.records import Head, Op
from ferryman.spec.windows import Window
from ferryman.steps.contract import StepContext
from ferryman.steps.released_bundle import verified_bundle

logger = logging.getLogger(__name__)


def head_then(context: StepContext) -> Head | None:
    """Who was champion at the moment that counts, its bundle at hand; None before any release.

    Raises IntegrityBroken (exit 7) where the bundle of a past champion cannot be had any more.
    """
    ledger, model = Ledger(context.settings.ledger_url), context.model.name
    moment = context.known_until
    head = ledger.head(model) if moment is None else ledger.routing(model, moment).head
    if head is None or not context.restates or Path(head.bundle).is_dir():
        return head
    place = verified_bundle(context.settings, model, head.version, head.digest)
    return head._replace(bundle=str(place))


def history_then(context: StepContext) -> list[Op]:
    """The transitions of the model's operations up to the moment that counts, oldest first."""
    history = Ledger(context.settings.ledger_url).history(context.model.name)
    moment = context.known_until
    return history if moment is None else [op for op in history if op.at <= moment]


def snapshot_then(context: StepContext, store: SnapshotStore, day: Window) -> Snapshot | None:
    """The snapshot of a day that readers had at the moment that counts.

    The first one where none was published by then: a night waits for it. Where it was removed
    since, the present one, which is told in the log.
    """
    moment, model = context.known_until, context.model.name
    if moment is None:
        return store.current(model, day)
    published = [one for one in store.history(model, day) if one.id is not None]
    by_then = [one for one in published if one.at <= moment] or published[:1]
    if not by_then or by_then[-1].id is None:
        return None
    try:
        return store.get(model, by_then[-1].id)
    except IntegrityBroken as error:
        logger.warning("%s: the snapshot of then cannot be read: %s", day, error.text)
        return store.current(model, day)
