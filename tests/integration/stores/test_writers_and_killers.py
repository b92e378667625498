"""Two writers at once, on a disk and in a bucket; writers and removals that are killed anywhere."""

import multiprocessing
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from kept_data import WINDOW, hidden_files, killed_at, write
from services.s3_server import S3Server

from ferryman.data.versions.marks import Marks
from ferryman.data.versions.pins import Pins
from ferryman.data.versions.retention import Retention
from ferryman.data.versions.snapshots import SnapshotStore
from ferryman.errors import IntegrityBroken
from ferryman.runtime.local_object_store import LocalObjectStore
from ferryman.runtime.object_store import ObjectStore
from ferryman.runtime.s3_object_store import S3ObjectStore
from ferryman.spec.data import RetentionSpec


@pytest.fixture(params=["local", "s3"])
def objects(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ObjectStore]:
    if request.param == "local":
        yield LocalObjectStore(tmp_path / "data")
        return
    with S3Server() as server:
        yield S3ObjectStore(server.connection("lake/data"), patience=30)


def test_two_writers_at_once_end_with_one_snapshot(objects: ObjectStore) -> None:
    context = multiprocessing.get_context("fork")
    results: Any = context.SimpleQueue()
    both = context.Barrier(2)

    def run(actor: str) -> None:
        both.wait(30)
        for seed in range(5):
            snapshot = write(objects, seed=seed, actor=actor)
            results.put((seed, snapshot.id, snapshot.new))

    writers = [context.Process(target=run, args=(actor,)) for actor in ("one", "other")]
    for writer in writers:
        writer.start()
    told = [results.get() for _ in range(10)]
    for writer in writers:
        writer.join(60)
        assert writer.exitcode == 0
    store = SnapshotStore(objects)
    assert len(store.snapshot_ids("m")) == len({name for _, name, _ in told}) == 5
    for seed in range(5):
        of_seed = [(name, new) for given, name, new in told if given == seed]
        assert len({name for name, _ in of_seed}) == 1
        assert sorted(new for _, new in of_seed) == [False, True]
        kept = store.get("m", of_seed[0][0])
        assert store.read_features(kept).num_rows == store.read_labels(kept).num_rows == 100
    history = store.history("m", WINDOW)
    assert [entry.parent for entry in history] == [None, *(entry.id for entry in history[:-1])]


def test_a_writer_killed_anywhere_leaves_nothing_half_visible(tmp_path: Path) -> None:
    whole = write(LocalObjectStore(tmp_path / "whole")).id
    number, killed = 0, True
    while killed:
        number += 1
        folder = tmp_path / f"killed-{number}"
        objects = LocalObjectStore(folder)
        killed = killed_at(number, lambda objects=objects: write(objects))  # type: ignore[misc]
        store = SnapshotStore(objects)
        for seen in [*store.published("m"), *(store.get("m", x) for x in store.snapshot_ids("m"))]:
            assert store.read_features(seen).num_rows == store.read_labels(seen).num_rows == 100
        assert write(objects).id == whole
        assert store.snapshot_ids("m") == [whole]
        assert [seen.id for seen in store.published("m")] == [whole]
        later = datetime.now(UTC) + timedelta(hours=1)
        left = {path.relative_to(folder).as_posix() for path in hidden_files(folder)}
        assert set(objects.sweep(later, remove=False)) == left
        objects.sweep(later, remove=True)
        assert hidden_files(folder) == []
    assert number > 20


def test_a_removal_killed_anywhere_is_finished_by_the_next(tmp_path: Path) -> None:
    number, killed = 0, True
    later = datetime.now(UTC) + timedelta(days=400)
    while killed:
        number += 1
        objects = LocalObjectStore(tmp_path / f"{number}")
        store, pins = SnapshotStore(objects), Pins(objects)
        gone, held, current = (write(objects, seed=seed).id for seed in range(3))
        pins.pin("m", "case-7", held, reason="a court", actor="test", hold=True)
        retention = Retention(objects, "m", RetentionSpec(), later)
        killed = killed_at(number, lambda: retention.remove(dict))  # noqa: B023 - run at once
        for name in store.snapshot_ids("m"):
            seen = store.get("m", name)
            assert store.read_features(seen).num_rows == 100, "visible, so whole"
        retention.remove(dict)
        assert set(store.snapshot_ids("m")) == {held, current}
        assert not [key for key in objects.keys("m") if gone in key]
        assert Marks(objects).begun("m") == []
        assert retention.remove(dict).goes == []
        with pytest.raises(IntegrityBroken):
            store.get("m", gone)
        assert write(objects, seed=0).id == gone
    assert number > 5
