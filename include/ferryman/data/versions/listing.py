"""What `ferryman data` shows of windows, snapshots and pins, and how it finds a version."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from ferryman.data.versions.dataset_catalogue import LEAST_BEGINNING, DatasetCatalogue
from ferryman.data.versions.pins import Pins
from ferryman.data.versions.snapshots import Snapshot, SnapshotStore
from ferryman.errors import SpecError
from ferryman.runtime.object_store import ObjectStore


@dataclass(frozen=True)
class ListedWindow:
    """One snapshot of a window; `state` is published, superseded or never published."""

    window: str
    snapshot: str
    rows: int
    labels: int
    why: str
    state: str = "published"
    change: str = ""
    pins: tuple[str, ...] = ()


@dataclass(frozen=True)
class FoundVersion:
    """A version that somebody named."""

    kind: Literal["snapshot", "dataset"]
    id: str


def list_windows(objects: ObjectStore, model: str) -> list[ListedWindow]:
    """The published windows of a model, oldest first."""
    store, pins = SnapshotStore(objects), pins_by_version(objects, model)
    found = []
    for snapshot in store.published(model):
        last = store.history(model, snapshot.window)[-1]
        found.append(replace(_listed(snapshot, pins), why=last.reason, change=last.change))
    return found


def list_snapshots(objects: ObjectStore, model: str) -> list[ListedWindow]:
    """Every snapshot of a model, of the oldest window first, in the order of their making."""
    store, pins = SnapshotStore(objects), pins_by_version(objects, model)
    current = {snapshot.id for snapshot in store.published(model)}
    snapshots = [store.get(model, name) for name in store.snapshot_ids(model)]
    found = []
    for snapshot in sorted(snapshots, key=lambda one: (one.window.start, one.entry.created_at)):
        history = store.history(model, snapshot.window)
        was = any(publication.id == snapshot.id for publication in history)
        now = "published" if snapshot.id in current else "superseded"
        found.append(replace(_listed(snapshot, pins), state=now if was else "never published"))
    return found


def _listed(snapshot: Snapshot, pins: Mapping[str, tuple[str, ...]]) -> ListedWindow:
    """A snapshot as its own entry tells of it."""
    return ListedWindow(
        window=str(snapshot.window),
        snapshot=snapshot.id,
        rows=snapshot.entry.rows,
        labels=snapshot.entry.labels,
        why=snapshot.entry.reason,
        change=snapshot.entry.change,
        pins=pins.get(snapshot.id, ()),
    )


def find_version(objects: ObjectStore, model: str, name: str) -> FoundVersion:
    """The snapshot or dataset version that a pin or a unique beginning of an id names.

    SpecError (exit 2) where none, or several, are meant.
    """
    pin = Pins(objects).get(model, name)
    wanted = pin.version if pin is not None and pin.version is not None else name
    ids = {
        **dict.fromkeys(DatasetCatalogue(objects).ids(model), "dataset"),
        **dict.fromkeys(SnapshotStore(objects).snapshot_ids(model), "snapshot"),
    }
    found = [version for version in ids if version.startswith(wanted)]
    if len(found) == 1 and len(wanted) >= LEAST_BEGINNING:
        return FoundVersion("dataset" if ids[found[0]] == "dataset" else "snapshot", found[0])
    few = f"; give at least {LEAST_BEGINNING} characters" if len(found) == 1 else ""
    how = "no version" if not found else f"{len(found)} version(s)"
    raise SpecError(
        f"{how} of {model!r} with an id that begins with {wanted[:80]!r}{few}",
        remedy=f"`ferryman data list --model {model} --all` shows them.",
    )


def show_snapshot(objects: ObjectStore, model: str, name: str) -> dict[str, Any]:
    """The catalogue entry of a snapshot, with the publications of its window and its pins."""
    store = SnapshotStore(objects)
    found = find_version(objects, model, name)
    if found.kind != "snapshot":
        raise SpecError(f"{found.id} is a {found.kind}, not a snapshot")
    snapshot = store.get(model, found.id)
    published = store.history(model, snapshot.window)
    return {
        **snapshot.entry.model_dump(mode="json"),
        "publications": [entry.model_dump(mode="json") for entry in published],
        "pins": show_pins(objects, model, found.id),
    }


def show_pins(objects: ObjectStore, model: str, version: str) -> list[dict[str, Any]]:
    """The pins on a version, as JSON values."""
    pins = Pins(objects).all(model)
    return [pin.model_dump(mode="json") for pin in pins if pin.version == version]


def pins_by_version(objects: ObjectStore, model: str) -> dict[str, tuple[str, ...]]:
    """The names of the pins on each version."""
    found: dict[str, tuple[str, ...]] = {}
    for pin in Pins(objects).all(model):
        if pin.version is not None:
            name = f"{pin.name} (hold)" if pin.hold else pin.name
            found[pin.version] = (*found.get(pin.version, ()), name)
    return found
