"""The data half of a chain of lineage: dataset versions, windows, sources, and the way back."""

from collections.abc import Iterable
from functools import cache

from pydantic import JsonValue

from ferryman.data.versions.catalogue_entry import CatalogueEntry
from ferryman.data.versions.dataset import DatasetStore, DatasetVersion
from ferryman.data.versions.dataset_catalogue import LEAST_BEGINNING, DatasetCatalogue
from ferryman.data.versions.snapshots import SnapshotStore
from ferryman.errors import IntegrityBroken, SpecError
from ferryman.lineage.link import Link, missing
from ferryman.runtime.object_store import ObjectStore
from ferryman.spec.windows import format_time

DATASET, WINDOW = "dataset version", "window"


class DataTrace:
    """Answers from the catalogue alone: no table is opened."""

    def __init__(self, objects: ObjectStore) -> None:
        self._snapshots = SnapshotStore(objects)
        self._datasets = DatasetStore(objects)
        self._catalogue = DatasetCatalogue(objects)
        self._window = cache(self._make_window)

    def find(self, models: Iterable[str], beginning: str) -> tuple[str, str, str]:
        """Model, kind and id of the one data version whose id begins so.

        SpecError (exit 2) where none or several do.
        """
        if len(beginning) < LEAST_BEGINNING:
            raise SpecError(f"{beginning!r}: give at least {LEAST_BEGINNING} characters of an id")
        found = [
            (model, kind, name)
            for model in models
            for kind, names in (
                (DATASET, self._catalogue.ids(model)),
                (WINDOW, self._snapshots.snapshot_ids(model)),
            )
            for name in names
            if name.startswith(beginning)
        ]
        if len(found) == 1:
            return found[0]
        shown = "; ".join(f"{model} {kind} {name[:16]}" for model, kind, name in found[:5])
        raise SpecError(
            f"{len(found)} versions of data begin with {beginning[:80]!r}"
            + (f": {shown}" if shown else ""),
            remedy="`ferryman data list` shows them; or name a model version, such as flights/3.",
        )

    def dataset(self, model: str, dataset_id: str, relation: str = "") -> Link:
        """A dataset version and the windows that it is made of."""
        try:
            version = self._datasets.get(dataset_id, model)
            shown = self._catalogue.show(model, dataset_id) or {}
        except (IntegrityBroken, SpecError) as error:
            return missing(f"dataset version {dataset_id[:64]}: {error.text[:300]}")
        left_out = ("profile", "snapshot_ids", "label_snapshot_ids", "model", "id", "format")
        facts = {name: value for name, value in shown.items() if name not in left_out}
        windows = [
            self.window(model, name, relation)
            for relation, names in (
                ("features from", version.snapshot_ids),
                ("labels from", version.label_snapshot_ids),
            )
            for name in names
        ]
        return Link(DATASET, dataset_id, relation, facts, tuple(windows))

    def window(self, model: str, snapshot_id: str, relation: str = "") -> Link:
        """A window's snapshot and the sources that it was read from."""
        try:
            made = self._window(model, snapshot_id)
        except (IntegrityBroken, SpecError) as error:
            return missing(f"window snapshot {snapshot_id[:64]}: {error.text[:300]}")
        return Link(made.kind, made.name, relation, made.facts, made.links)

    def datasets_with(self, model: str, snapshot_id: str) -> list[DatasetVersion]:
        """The dataset versions that hold a snapshot's features or labels, oldest first."""
        versions = [self._datasets.get(name, model) for name in self._catalogue.ids(model)]
        held = [
            version
            for version in versions
            if snapshot_id in version.snapshot_ids or snapshot_id in version.label_snapshot_ids
        ]
        return sorted(held, key=lambda version: (version.cutoff, version.role))

    def _make_window(self, model: str, snapshot_id: str) -> Link:
        entry = self._snapshots.get(model, snapshot_id).entry
        current = self._snapshots.current(model, entry.window)
        facts: dict[str, JsonValue] = {
            "window": str(entry.window),
            "rows": entry.rows,
            "labels": entry.labels,
            "reason": entry.reason,
            "actor": entry.actor,
            "created_at": format_time(entry.created_at),
            "code_version": entry.code_version,
            "spec_digest": entry.spec_digest,
            "queries": dict(entry.queries),
            "read_window": str(entry.read_window) if entry.read_window else None,
            "parents": list(entry.parents),
            "published": current is not None and current.id == snapshot_id,
        }
        return Link(WINDOW, snapshot_id, "", facts, _sources(entry))


def _sources(entry: CatalogueEntry) -> tuple[Link, ...]:
    links = []
    for name, use in sorted(entry.sources.items()):
        facts = use.model_dump(mode="json", exclude={"parts"})
        parts = tuple(
            Link("part", str(part["name"]), "", {k: v for k, v in part.items() if k != "name"})
            for part in use.parts
        )
        links.append(Link("source", name, "read from", facts, parts))
    return tuple(links)
