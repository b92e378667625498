"""What `ferryman data` shows: the published windows, and one snapshot's catalogue entry."""

from dataclasses import dataclass
from typing import Any

from ferryman.data.snapshots import SnapshotStore
from ferryman.errors import SpecError
from ferryman.runtime.object_store import ObjectStore


@dataclass(frozen=True)
class ListedWindow:
    """One published window."""

    window: str
    snapshot: str
    rows: int
    labels: int
    why: str


def list_windows(objects: ObjectStore, model: str) -> list[ListedWindow]:
    """The published windows of a model, oldest first."""
    store = SnapshotStore(objects)
    return [
        ListedWindow(
            window=str(snapshot.window),
            snapshot=snapshot.id,
            rows=snapshot.entry.rows,
            labels=snapshot.entry.labels,
            why=store.history(model, snapshot.window)[-1].reason,
        )
        for snapshot in store.published(model)
    ]


def show_snapshot(objects: ObjectStore, model: str, beginning: str) -> dict[str, Any]:
    """The catalogue entry of a snapshot, with the publications of its window.

    `beginning` is a unique beginning of its id; SpecError (exit 2) where none or several begin so.
    """
    store = SnapshotStore(objects)
    found = [name for name in store.snapshot_ids(model) if name.startswith(beginning)]
    if len(found) != 1 or not beginning:
        how = "no snapshot" if not found else f"{len(found)} snapshots"
        raise SpecError(
            f"{how} of {model!r} begin with {beginning[:80]!r}",
            remedy="`ferryman data list` shows the published ones.",
        )
    snapshot = store.get(model, found[0])
    published = store.history(model, snapshot.window)
    return {
        **snapshot.entry.model_dump(mode="json"),
        "publications": [entry.model_dump(mode="json") for entry in published],
    }
