"""Real processes that write the same day at once, or are killed while they do."""

import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ferryman.data.versions.snapshots import SnapshotStore
from ferryman.runtime.local_object_store import LocalObjectStore
from ferryman.spec.windows import day_window

if TYPE_CHECKING:
    from conftest import Installation

WRITER = Path(__file__).with_name("writer.py")
DAY = "2013-02-05"


def start(installation: "Installation", go: Path) -> subprocess.Popen[str]:
    command = [sys.executable, str(WRITER), str(installation.settings.root), DAY, str(go)]
    writer = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    assert writer.stdout.readline() == "ready\n"
    return writer


def finish(writer: subprocess.Popen[str]) -> str:
    text, _ = writer.communicate(timeout=60)
    assert writer.returncode == 0
    return text.strip()


def test_two_writers_at_once_make_one_snapshot(
    installation: "Installation", tmp_path: Path
) -> None:
    go = tmp_path / "go"
    writers = [start(installation, go) for _ in range(2)]
    go.touch()
    names = {finish(writer) for writer in writers}
    assert len(names) == 1
    store = SnapshotStore(LocalObjectStore(installation.settings.data_root))
    assert set(store.snapshot_ids("flights")) == names
    assert len(store.history("flights", day_window(datetime(2013, 2, 5, tzinfo=UTC)))) == 1
    (published,) = store.published("flights")
    assert store.read_features(published).num_rows == published.entry.rows == 901
    folder = installation.settings.data_root / "flights" / "snapshots"
    assert [entry.name for entry in folder.iterdir()] == [published.id]


@pytest.mark.parametrize("delay", [0.0, 0.004, 0.012, 0.03])
def test_a_killed_writer_leaves_nothing_that_is_read(
    installation: "Installation", tmp_path: Path, delay: float
) -> None:
    go = tmp_path / "go"
    killed = start(installation, go)
    go.touch()
    time.sleep(delay)
    killed.kill()
    killed.communicate(timeout=60)
    store = SnapshotStore(LocalObjectStore(installation.settings.data_root))
    for snapshot in store.published("flights"):
        assert store.read_features(snapshot).num_rows == 901
    name = finish(start(installation, go))
    assert store.snapshot_ids("flights") == [name]
    assert [snapshot.id for snapshot in store.published("flights")] == [name]
    assert store.read_labels(store.get("flights", name)).num_rows == 928
