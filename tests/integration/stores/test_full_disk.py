"""A disk that is full: exit 6 with the figures, nothing half visible, what was there unharmed."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from kept_data import WINDOW, hidden_files, write
from small_disk import disk_of

from ferryman.data.versions.snapshots import SnapshotStore
from ferryman.errors import DependencyUnavailable
from ferryman.runtime.local_object_store import LocalObjectStore

_SIZE = 2 << 20


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 2 MB."""
    with disk_of(_SIZE, tmp_path / "small") as place:
        yield place


def test_more_is_ingested_than_the_disk_holds(small_disk: Path) -> None:
    objects = LocalObjectStore(small_disk / "data")
    before = write(objects, rows=100)
    with pytest.raises(DependencyUnavailable) as caught:
        write(objects, rows=400_000)
    text = caught.value.text
    assert "no space left for" in text
    need, have = (int(part.split()[1]) for part in text.split(": ")[1].split(", "))
    assert need > _SIZE > have > _SIZE // 2
    store = SnapshotStore(objects)
    assert store.snapshot_ids("m") == [before.id]
    assert [one.id for one in store.published("m")] == [before.id]
    assert hidden_files(small_disk) == []
    assert objects.keys("m/snapshots") == sorted(
        [f"m/snapshots/{before.id}/entry.json", *(f.key for f in before.entry.files.values())]
    )


def test_space_ends_at_any_write(small_disk: Path, tmp_path: Path) -> None:
    objects = LocalObjectStore(small_disk / "data")
    store = SnapshotStore(objects)
    before = write(objects, rows=100)
    ballast = small_disk / "ballast"
    wanted = write(LocalObjectStore(tmp_path / "elsewhere"), rows=5_000).id
    refused = 0
    for free in range(0, 300_000, 4096):
        ballast.write_bytes(b"")
        used = sum(
            4096 * -(-p.stat().st_size // 4096) for p in small_disk.rglob("*") if p.is_file()
        )
        ballast.write_bytes(b"x" * max(_SIZE - used - free, 0))
        try:
            written = write(objects, rows=5_000)
        except DependencyUnavailable as error:
            assert "no space left for" in error.text
            refused += 1
            assert [one.id for one in store.published("m")] == [before.id]
            assert store.read_features(before).num_rows == 100
            assert hidden_files(small_disk) == []
            continue
        assert written.id == wanted
        break
    assert refused > 10
    assert [one.id for one in store.history("m", WINDOW)] == [before.id, wanted]
