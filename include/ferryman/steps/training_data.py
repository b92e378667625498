"""Chooses what a training reads: the newest data, an earlier cut-off, or exactly a pinned version.

A pinned training version brings the evaluation version that was made with it, so that both are what
they were, whichever windows have been published anew since.
"""

import re
from datetime import UTC, datetime

from ferryman.data.dataset import DatasetStore, DatasetVersion
from ferryman.data.dataset_catalogue import DatasetCatalogue
from ferryman.data.snapshots import SnapshotStore
from ferryman.errors import DataRejected, SpecError
from ferryman.spec.windows import format_time
from ferryman.steps.contract import StepContext

_ID = re.compile(r"[0-9a-f]{64}")


def choose_datasets(
    context: StepContext, datasets: DatasetStore, cutoff: datetime | None, pin: str | None
) -> tuple[DatasetVersion, DatasetVersion]:
    """The training and the evaluation version.

    Raises SpecError (exit 2) for a pin that names no training version or contradicts the cut-off,
    DataRejected (exit 3) where there is no data.
    """
    known = cutoff.astimezone(UTC) if cutoff else None
    if pin is None:
        return datasets.split(context.spec, known or _newest_end(context))
    model = context.spec.name
    train = datasets.get(resolve_dataset(context, pin), model)
    if train.role != "train":
        raise SpecError(
            f"pin {pin[:80]!r} is an evaluation version", remedy="Pin a training version."
        )
    if known is not None and known != train.cutoff:
        raise SpecError(
            f"pin {pin[:80]!r} was cut off at {format_time(train.cutoff)}, not at "
            f"{format_time(known)}",
            remedy="Give pin or cutoff, not both.",
        )
    entry = DatasetCatalogue(context.data_store).entry(model, train.id)
    if entry is None or entry.split is None:
        return train, datasets.build(context.spec, train.cutoff, "eval")
    return train, datasets.get(entry.split.evaluation, model)


def resolve_dataset(context: StepContext, name: str) -> str:
    """The dataset id that an id, a unique beginning of one, or a pin's name stands for."""
    if _ID.fullmatch(name):
        return name
    return DatasetCatalogue(context.data_store).resolve(context.spec.name, name)


def _newest_end(context: StepContext) -> datetime:
    newest = SnapshotStore(context.data_store).newest(context.spec.name)
    if newest is None:
        raise DataRejected(
            f"no window of {context.spec.name!r} has been published",
            remedy=f"Run `ferryman run ingest --model {context.spec.name}` for some windows first.",
        )
    return newest.window.end
