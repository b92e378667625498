"""Builds, writes and publishes one day of flights in a process of its own.

Usage: writer.py ROOT YYYY-MM-DD START_FILE; it begins to write when the file is there.
"""

import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from ferryman.data.sources.open_sources import open_sources
from ferryman.data.versions.snapshots import SnapshotStore
from ferryman.data.windows.ingestion import Ingestion
from ferryman.data.windows.query import QueryEngine
from ferryman.runtime.connections import GivenConnections
from ferryman.runtime.local_object_store import LocalObjectStore
from ferryman.spec.loader import load_model
from ferryman.spec.windows import day_window


def main(root: Path, day: str, start_file: Path) -> None:
    model = load_model(root / "zoo" / "flights")
    window = day_window(datetime.fromisoformat(day).replace(tzinfo=UTC))
    store = SnapshotStore(LocalObjectStore(root / "home" / "data"))
    sources = open_sources(model, root / "raw", GivenConnections())
    with QueryEngine() as engine:
        ingestion = Ingestion(model, sources, engine)
        built = ingestion.build(window)
    entry = ingestion.entry(built, reason="race", actor="writer", code="", parents=[])
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    while not start_file.exists():
        time.sleep(0.001)
    snapshot = store.write("flights", window, built.features, built.labels, entry)
    store.publish("flights", window, snapshot.id, "race")
    sys.stdout.write(snapshot.id + "\n")


main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
