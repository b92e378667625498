"""Everything that a model's place holds, as retention and verification look at it."""

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from ferryman.data.versions.catalogue_entry import CatalogueEntry
from ferryman.data.versions.dataset_version import DatasetVersion, manifest_key
from ferryman.data.versions.marks import Marks
from ferryman.data.versions.pins import Pins
from ferryman.data.versions.publications import Publication, Publications
from ferryman.data.versions.snapshots import ENTRY, SnapshotStore
from ferryman.errors import IntegrityBroken
from ferryman.runtime.object_store import ObjectStore
from ferryman.spec.windows import Window

_DATASET = re.compile(r"[^/]+/datasets/([0-9a-f]{64})(\.json|\.entry\.json)")
_EARLIEST = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class StoredSnapshot:
    """A snapshot, or what is left of one: the objects of its folder, the entry first.

    `used` is when it was last written, published, superseded or asked for.
    """

    id: str
    keys: tuple[str, ...]
    used: datetime
    size: int = 0
    window: Window | None = None
    was_published: bool = False


@dataclass(frozen=True)
class StoredDataset:
    """A dataset version: its manifest first, and the versions that it is made from."""

    id: str
    role: str
    keys: tuple[str, ...]
    used: datetime
    size: int
    needs: tuple[str, ...]
    apart_from: str = ""


@dataclass(frozen=True)
class Stored:
    """All of it. `quarantine` holds key, time and, where a hold is on it, the reason to stay."""

    snapshots: list[StoredSnapshot]
    unfinished: list[StoredSnapshot]
    datasets: list[StoredDataset]
    windows: Mapping[Window, list[Publication]]
    pinned: Mapping[str, str]
    quarantine: list[tuple[str, datetime, str | None]]


class StoredVersions:
    """Reads what one model's place holds, by listings: what is not listed is not touched."""

    def __init__(self, objects: ObjectStore, model: str) -> None:
        self._objects, self._model = objects, model
        self._snapshots = SnapshotStore(objects)

    def read(self) -> Stored:
        """Look at everything; IntegrityBroken (exit 7) for a record that cannot be read."""
        publications = Publications(self._objects)
        windows = {
            window: publications.history(self._model, window)
            for window in publications.windows(self._model)
        }
        used = Marks(self._objects).last_uses(self._model)
        pins = Pins(self._objects).all(self._model)
        pinned = {
            pin.version: f"{'legal hold' if pin.hold else 'pinned'} #{pin.name}: {pin.reason}"
            for pin in pins
            if pin.version is not None
        }
        held = {pin.version for pin in pins if pin.hold}
        snapshots, unfinished, entries = self._read_snapshots(windows, used)
        return Stored(
            snapshots=snapshots,
            unfinished=unfinished + self._strays(used, snapshots, unfinished),
            datasets=self._read_datasets(used),
            windows=windows,
            pinned=pinned,
            quarantine=self._read_quarantine([e for e in entries if e.id in held]),
        )

    def _read_snapshots(
        self, windows: Mapping[Window, list[Publication]], used: Mapping[str, datetime]
    ) -> tuple[list[StoredSnapshot], list[StoredSnapshot], list[CatalogueEntry]]:
        moved = _last_moves(windows)
        folders: dict[str, list[str]] = defaultdict(list)
        for key in self._objects.keys(f"{self._model}/snapshots"):
            folders[key.split("/")[2]].append(key)
        whole, unfinished, entries = [], [], []
        for name, keys in folders.items():
            entry_key = f"{self._model}/snapshots/{name}/{ENTRY}"
            if entry_key not in keys:
                unfinished.append(self._left_over(name, keys, used.get(name)))
                continue
            entry = self._snapshots.get(self._model, name).entry
            entries.append(entry)
            others = tuple(key for key in keys if key != entry_key)
            whole.append(
                StoredSnapshot(
                    id=name,
                    keys=(entry_key, *others),
                    used=max(
                        entry.created_at, moved.get(name, _EARLIEST), used.get(name, _EARLIEST)
                    ),
                    size=sum(file.size for file in entry.files.values()),
                    window=entry.window,
                    was_published=name in moved,
                )
            )
        return whole, unfinished, entries

    def _left_over(self, name: str, keys: list[str], used: datetime | None) -> StoredSnapshot:
        times = [self._objects.modified(key) or _EARLIEST for key in keys]
        size = sum(self._objects.size(key) or 0 for key in keys)
        return StoredSnapshot(name, tuple(keys), max([*times, used or _EARLIEST]), size)

    def _strays(
        self,
        used: Mapping[str, datetime],
        snapshots: list[StoredSnapshot],
        unfinished: list[StoredSnapshot],
    ) -> list[StoredSnapshot]:
        """Entries of datasets without a manifest, and notes of versions that are gone."""
        keys = self._objects.keys(f"{self._model}/datasets")
        found = [(match[1], match[2], key) for key in keys if (match := _DATASET.fullmatch(key))]
        manifests = {name for name, kind, _ in found if kind == ".json"}
        alone = [(name, key) for name, _, key in found if name not in manifests]
        known = manifests | {one.id for one in (*snapshots, *unfinished)} | {n for n, _ in alone}
        notes = [name for name in used if name not in known]
        return [self._left_over(name, [key], used.get(name)) for name, key in alone] + [
            StoredSnapshot(name, (), used[name]) for name in notes
        ]

    def _read_datasets(self, used: Mapping[str, datetime]) -> list[StoredDataset]:
        keys = set(self._objects.keys(f"{self._model}/datasets"))
        names = [match[1] for key in keys if (match := _DATASET.fullmatch(key))]
        return [
            self._read_dataset(name, keys, used.get(name, _EARLIEST))
            for name in sorted(set(names))
            if manifest_key(self._model, name) in keys
        ]

    def _read_dataset(self, name: str, keys: set[str], used: datetime) -> StoredDataset:
        key = manifest_key(self._model, name)
        try:
            version = DatasetVersion.model_validate_json(self._objects.read(key) or b"")
        except ValueError as error:
            raise IntegrityBroken(
                f"{self._objects.uri(key)}: not readable: {str(error)[:300]}",
                remedy="Restore it from a copy; until then nothing of this model is removed.",
            ) from error
        # What somebody allowed on it stays: <id>.overrides is a record of decisions.
        beside = key.replace(".json", ".entry.json")
        return StoredDataset(
            id=name,
            role=version.role,
            keys=(key, beside) if beside in keys else (key,),
            used=max(self._objects.modified(key) or _EARLIEST, used),
            size=self._objects.size(key) or 0,
            needs=(*version.snapshot_ids, *version.label_snapshot_ids),
            apart_from=version.without_groups_of,
        )

    def _read_quarantine(
        self, held: list[CatalogueEntry]
    ) -> list[tuple[str, datetime, str | None]]:
        kept = {entry.quarantine.key for entry in held if entry.quarantine is not None}
        return [
            (key, self._objects.modified(key) or _EARLIEST, "legal hold" if key in kept else None)
            for key in self._objects.keys(f"{self._model}/quarantine")
        ]


def _last_moves(windows: Mapping[Window, list[Publication]]) -> dict[str, datetime]:
    """When each snapshot last became current, or ceased to be."""
    moved: dict[str, datetime] = {}
    for history in windows.values():
        for publication in history:
            for name in (publication.id, publication.parent):
                if name is not None:
                    moved[name] = max(moved.get(name, _EARLIEST), publication.at)
    return moved
