"""Finds versions of data by what the catalogue says of them; no table is opened."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

from ferryman.data.versions.catalogue_entry import CatalogueEntry
from ferryman.data.versions.dataset_catalogue import DatasetCatalogue, DatasetEntry
from ferryman.data.versions.listing import list_snapshots, list_windows, pins_by_version
from ferryman.data.versions.snapshots import SnapshotStore
from ferryman.runtime.object_store import ObjectStore
from ferryman.spec.windows import format_time

Kind = Literal["windows", "datasets"]
KINDS: tuple[Kind, ...] = ("windows", "datasets")


@dataclass(frozen=True)
class Wanted:
    """What is looked for.

    `text` stands anywhere in what is known of a version, in any case of letters; `column` is the
    whole name of a column. Of windows only the published snapshots are found, unless `everything`.
    """

    kinds: tuple[Kind, ...] = KINDS
    text: str = ""
    column: str = ""
    everything: bool = False


@dataclass(frozen=True)
class FoundEntry:
    """A version, in a form for tables and machines.

    `what` is a window, or a dataset's side and cut-off; `size` is in bytes; `labels` counts a
    window's labels. Of a dataset's labels `label_share` is the share that is true, `class_shares`
    that of each class, `label_mean` and `label_sd` are of numbers; `label` says them in words.
    """

    model: str
    kind: Kind
    id: str
    what: str
    state: str
    rows: int
    labels: int | None
    label: str
    label_share: float | None
    class_shares: dict[str, float] | None
    label_mean: float | None
    label_sd: float | None
    size: int | None
    columns: tuple[str, ...]
    sources: tuple[str, ...]
    reason: str
    change: str
    actor: str
    made: str
    parents: tuple[str, ...]
    pins: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """The same as JSON values."""
        return asdict(self)


def search(objects: ObjectStore, models: Iterable[str], wanted: Wanted) -> Iterator[FoundEntry]:
    """Every version that fits, model by model: windows by time, then datasets by cut-off."""
    for model in models:
        if "windows" in wanted.kinds:
            yield from _windows(objects, model, wanted)
        if "datasets" in wanted.kinds:
            yield from _datasets(objects, model, wanted)


def _windows(objects: ObjectStore, model: str, wanted: Wanted) -> Iterator[FoundEntry]:
    store = SnapshotStore(objects)
    rows = (list_snapshots if wanted.everything else list_windows)(objects, model)
    for row in rows:
        entry = store.get(model, row.snapshot).entry
        if _fits(wanted, list(entry.table_schema), [*_texts_of_window(entry), row.why, *row.pins]):
            yield FoundEntry(
                model=model,
                kind="windows",
                id=entry.id,
                what=row.window,
                state=row.state,
                rows=entry.rows,
                labels=entry.labels,
                label="",
                label_share=None,
                class_shares=None,
                label_mean=None,
                label_sd=None,
                size=sum(file.size for file in entry.files.values()),
                columns=tuple(entry.table_schema),
                sources=tuple(sorted(entry.sources)),
                reason=row.why,
                change=row.change,
                actor=entry.actor,
                made=format_time(entry.created_at),
                parents=tuple(entry.parents),
                pins=row.pins,
            )


def _datasets(objects: ObjectStore, model: str, wanted: Wanted) -> Iterator[FoundEntry]:
    pins = pins_by_version(objects, model)
    for entry in DatasetCatalogue(objects).entries(model):
        held = pins.get(entry.id, ())
        if _fits(wanted, list(entry.table_schema), [*_texts_of_dataset(entry), *held]):
            side = "training" if entry.role == "train" else "evaluation"
            yield FoundEntry(
                model=model,
                kind="datasets",
                id=entry.id,
                what=f"{side} at {format_time(entry.cutoff)}",
                state="kept",
                rows=entry.rows,
                labels=None,
                label=entry.label_words,
                label_share=entry.label_share,
                class_shares=entry.class_shares,
                label_mean=entry.label_mean,
                label_sd=entry.label_sd,
                size=entry.size,
                columns=tuple(entry.table_schema),
                sources=(),
                reason=entry.reason,
                change="",
                actor=entry.actor,
                made=format_time(entry.created_at) if entry.created_at else "",
                parents=tuple(entry.parents),
                pins=held,
            )


def _fits(wanted: Wanted, columns: list[str], texts: list[str]) -> bool:
    if wanted.column and wanted.column not in columns:
        return False
    sought = wanted.text.casefold()
    return not sought or any(sought in text.casefold() for text in (*columns, *texts))


def _texts_of_window(entry: CatalogueEntry) -> list[str]:
    texts = [entry.id, str(entry.window), entry.reason, entry.change, entry.actor]
    texts += [*entry.queries, entry.code_version, *entry.parents]
    for name, use in entry.sources.items():
        parts = (str(part.get(key, "")) for part in use.parts for key in ("name", "sha256"))
        texts += [name, use.described, use.query, *use.counts, *parts]
    return texts


def _texts_of_dataset(entry: DatasetEntry) -> list[str]:
    texts = [entry.id, entry.role, str(entry.event_window), format_time(entry.cutoff)]
    return [*texts, entry.label, entry.reason, entry.actor, *entry.parents]
