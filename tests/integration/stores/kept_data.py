"""Tables to keep, and processes that write or remove them and kill themselves on the way."""

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ferryman.data.versions.snapshots import Snapshot, SnapshotEntry, SnapshotStore
from ferryman.runtime.object_store import ObjectStore
from ferryman.spec.windows import day_window

DAY = datetime(2013, 2, 5, tzinfo=UTC)
WINDOW = day_window(DAY)
TIME = pa.timestamp("us", "UTC")
_WRITES = {"os.link", "os.mkdir", "os.remove", "os.rmdir", "os.chmod", "os.rename"}


def tables(rows: int, seed: int = 0) -> tuple[Any, Any]:
    """Features of noise, 8 bytes a row that do not shrink, and labels."""
    keys = pa.array([f"key {row}" for row in range(rows)])
    times = pa.array([DAY + timedelta(seconds=row) for row in range(rows)], TIME)
    noise = np.random.default_rng(seed).normal(size=rows)
    features = pa.table({"entity_key": keys, "event_time": times, "noise": noise})
    labels = pa.table(
        {"entity_key": keys, "event_time": times, "label": noise > 0, "known_at": times}
    )
    return features, labels


def write(
    objects: ObjectStore, rows: int = 100, seed: int = 0, actor: str = "test", model: str = "m"
) -> Snapshot:
    """Write and publish the day."""
    store = SnapshotStore(objects)
    features, labels = tables(rows, seed)
    entry = SnapshotEntry(reason="test", actor=actor)
    snapshot = store.write(model, WINDOW, features, labels, entry)
    store.publish(model, WINDOW, snapshot.id, f"by {actor}")
    return snapshot


def killed_at(number: int, work: Callable[[], object]) -> bool:
    """Do work in a fork that kills itself at its Nth change of the disk; whether it was killed."""

    def run() -> None:
        left = [number]

        def watch(event: str, arguments: Any) -> None:
            writes = (
                event == "open" and arguments[1] is not None and set("wxa+") & set(arguments[1])
            )
            low = event == "open" and arguments[1] is None and arguments[2] & os.O_CREAT
            if event in _WRITES or writes or low:
                left[0] -= 1
                if left[0] == 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(watch)
        work()

    child = multiprocessing.get_context("fork").Process(target=run)
    child.start()
    child.join(60)
    assert child.exitcode in (0, -signal.SIGKILL)
    return child.exitcode != 0


def _opens_to_write(arguments: Any) -> bool:
    _, mode, flags = arguments
    return bool(flags & os.O_CREAT) if mode is None else bool(set("wxa+") & set(mode))


def hidden_files(folder: Path) -> list[Path]:
    """Temporary files that writers left."""
    return [path for path in folder.rglob(".*") if path.is_file()]
