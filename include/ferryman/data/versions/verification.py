"""Reads kept versions through, byte for byte, and tells every difference."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from ferryman.data.versions.dataset import DatasetStore
from ferryman.data.versions.dataset_catalogue import DatasetCatalogue
from ferryman.data.versions.listing import FoundVersion
from ferryman.data.versions.publications import Publications
from ferryman.data.versions.snapshots import SnapshotStore
from ferryman.errors import IntegrityBroken
from ferryman.runtime.object_store import ObjectStore

_TOLD = 50  # differences; a broken disk has millions


@dataclass
class Verification:
    """What was read, and the differences: file, expected, got."""

    snapshots: int = 0
    datasets: int = 0
    size: int = 0
    broken: int = 0
    texts: list[str] = field(default_factory=list)

    def check(self, what: Callable[[], object]) -> None:
        """Note it where something is not what was recorded."""
        try:
            what()
        except IntegrityBroken as error:
            if error.text in self.texts:  # two ways lead to the same damage
                return
            self.broken += 1
            if len(self.texts) < _TOLD:
                self.texts.append(error.text)


def verify_version(objects: ObjectStore, model: str, version: FoundVersion) -> Verification:
    """Read one version through; of a dataset, its snapshots too."""
    if version.kind == "snapshot":
        return _verify(objects, model, [version.id], [])
    done = Verification()
    names: list[str] = []

    def manifest() -> None:
        found = DatasetStore(objects).get(version.id, model)
        names.extend({*found.snapshot_ids, *found.label_snapshot_ids})

    done.check(manifest)
    rest = _verify(objects, model, sorted(names), [])
    rest.datasets, rest.broken, rest.texts = 1, done.broken + rest.broken, done.texts + rest.texts
    return rest


def verify_model(objects: ObjectStore, model: str) -> Verification:
    """Read everything of a model through: snapshots, dataset versions, publications."""
    done = _verify(
        objects,
        model,
        SnapshotStore(objects).snapshot_ids(model),
        DatasetCatalogue(objects).ids(model),
    )
    store, publications = SnapshotStore(objects), Publications(objects)
    for window in publications.windows(model):
        done.check(lambda window=window: store.history(model, window))  # type: ignore[misc]
        done.check(lambda window=window: store.current(model, window))  # type: ignore[misc]
    return done


def _verify(
    objects: ObjectStore, model: str, snapshots: Iterable[str], datasets: Iterable[str]
) -> Verification:
    done, store, known = Verification(), SnapshotStore(objects), DatasetStore(objects)
    for name in snapshots:
        done.snapshots += 1
        done.check(lambda name=name: _read_through(objects, store, model, name, done))  # type: ignore[misc]
    for name in datasets:
        done.datasets += 1
        done.check(lambda name=name: known.get(name, model))  # type: ignore[misc]
    return done


def _read_through(
    objects: ObjectStore, store: SnapshotStore, model: str, name: str, done: Verification
) -> None:
    entry = store.get(model, name).entry
    files = list(entry.files.values())
    # Quarantined rows may have been removed when their time was over.
    if entry.quarantine is not None and objects.size(entry.quarantine.key) is not None:
        files.append(entry.quarantine)
    for stored in files:
        done.size += stored.size
        done.check(lambda stored=stored: store.verify(stored))  # type: ignore[misc]
