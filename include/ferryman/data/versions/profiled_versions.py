"""Gives versions of data the profiles of their windows, so that they can be compared."""

from collections.abc import Mapping
from typing import Any

from ferryman.data.versions.dataset import DatasetStore
from ferryman.data.versions.diff import Version
from ferryman.data.versions.listing import find_version
from ferryman.data.versions.snapshots import SnapshotStore
from ferryman.errors import IntegrityBroken
from ferryman.profiles.column_profile import ColumnProfile, read_profile
from ferryman.runtime.object_store import ObjectStore


def profiled_version(objects: ObjectStore, model: str, name: str) -> Version:
    """A snapshot or dataset by a pin's name or a unique beginning of its id.

    A dataset is described by the windows that its features come from, whole. Raises SpecError (exit
    2) where no or several versions are meant, IntegrityBroken (exit 7) where a profile is not
    readable.
    """
    snapshots = SnapshotStore(objects)
    found = find_version(objects, model, name)
    if found.kind == "snapshot":
        parts = [found.id]
    else:
        parts = DatasetStore(objects).get(found.id, model).snapshot_ids
    entries = [snapshots.get(model, part).entry for part in parts]
    profiles = [read_entry_profile(entry.id, entry.profile) for entry in entries]
    return Version(found.id, sum(entry.rows for entry in entries), profiles)


def read_entry_profile(snapshot: str, stored: Mapping[str, Any]) -> Mapping[str, ColumnProfile]:
    """The profile of a catalogue entry; IntegrityBroken (exit 7) where it is not in this form."""
    try:
        return read_profile(stored)
    except (KeyError, TypeError, ValueError) as error:
        raise IntegrityBroken(
            f"snapshot {snapshot}: no readable profile: {type(error).__name__} {str(error)[:100]}",
            remedy="An older release may have written it: ingest the window again.",
        ) from error
