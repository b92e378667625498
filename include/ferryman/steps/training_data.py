"""Chooses what a training reads: the newest data, an earlier cut-off, or exactly a pinned version.

A pinned training version brings the evaluation version that was made with it, so that both are what
they were, whichever windows have been published anew since.
"""

import logging
import re
from datetime import UTC, datetime

from pydantic import AwareDatetime, Field

from ferryman.data.versions.dataset import DatasetStore, DatasetVersion
from ferryman.data.versions.dataset_catalogue import DatasetCatalogue
from ferryman.data.versions.pins import Pins
from ferryman.data.versions.snapshots import SnapshotStore
from ferryman.errors import DataRejected, SpecError
from ferryman.spec.windows import format_time
from ferryman.steps.contract import StepContext, StepParams

logger = logging.getLogger(__name__)

_ID = re.compile(r"[0-9a-f]{64}")


class DatasetParams(StepParams):
    """`cutoff`: see nothing that became known later; default the end of the newest window."""

    cutoff: AwareDatetime | None = None
    reason: str = Field(default="manual", max_length=200)
    pin: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$",
        coerce_numbers_to_str=True,  # a beginning may be all digits
        description="Train on this dataset: its id, a unique beginning of it, or a pin's name.",
    )


def choose_datasets(
    context: StepContext, datasets: DatasetStore, cutoff: datetime | None, pin: str | None
) -> tuple[DatasetVersion, DatasetVersion]:
    """The training and the evaluation version.

    Raises SpecError (exit 2) for a pin that names no training version or contradicts the cut-off,
    DataRejected (exit 3) where there is no data.
    """
    known = cutoff.astimezone(UTC) if cutoff else None
    if pin is None:
        return datasets.split(context.spec, known or newest_end(context))
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
    catalogue = DatasetCatalogue(context.data_store)
    entry = catalogue.entry(model, train.id)
    pair = entry.split.evaluation if entry is not None and entry.split is not None else None
    if pair is None or catalogue.entry(model, pair) is None:
        logger.warning("%s: %s has no evaluation version any more: made anew", model, train.id[:12])
        return train, datasets.build(context.spec, train.cutoff, "eval")
    return train, datasets.get(pair, model)


def resolve_dataset(context: StepContext, name: str) -> str:
    """The dataset id that a pin's name, an id, or a unique beginning of one stands for.

    SpecError (exit 2) where it stands for none, for several, or for a window.
    """
    model, catalogue = context.spec.name, DatasetCatalogue(context.data_store)
    pinned = Pins(context.data_store).get(model, name)
    version = pinned.version if pinned else None
    if version is None:
        return name if _ID.fullmatch(name) else catalogue.resolve(model, name)
    if catalogue.entry(model, version) is None:
        raise SpecError(
            f"pin {name!r} stands for {version[:16]}, which is no dataset version of {model!r}",
            remedy="Pin a training version: `ferryman data list --kind datasets` shows them.",
        )
    return version


def newest_end(context: StepContext) -> datetime:
    """The end of the newest published window: DataRejected (exit 3) where there is none."""
    newest = SnapshotStore(context.data_store).newest(context.spec.name)
    if newest is None:
        raise DataRejected(
            f"no window of {context.spec.name!r} has been published",
            remedy=f"Run `ferryman run ingest --model {context.spec.name}` for some windows first.",
        )
    return newest.window.end
