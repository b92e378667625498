"""Dataset versions: what was known at the cut-off, and nothing else."""

import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from ferryman.data.versions.dataset import DatasetStore, event_windows
from ferryman.data.versions.snapshots import SnapshotEntry, SnapshotStore
from ferryman.errors import DataRejected, IntegrityBroken, SpecError
from ferryman.runtime.local_object_store import LocalObjectStore
from ferryman.spec.windows import day_window

if TYPE_CHECKING:
    from conftest import World

ENTRY = SnapshotEntry(reason="test", actor="tester")


def at(day: int, hour: int = 0) -> dt.datetime:
    return dt.datetime(2013, 1, day, hour, tzinfo=dt.UTC)


def publish(world: "World", root: Path, days: range) -> None:
    store = SnapshotStore(LocalObjectStore(root))
    ingestion = world.ingestion()
    for day in days:
        built = ingestion.build(day_window(at(day)))
        snapshot = store.write("trips", built.window, built.features, built.labels, ENTRY)
        store.publish("trips", built.window, snapshot.id, "test")


def test_training_ends_where_evaluation_begins_and_labels_are_known(world: "World") -> None:
    train, evaluation = event_windows(world.model().spec, at(10))
    assert (train.start, train.end) == (at(3), at(7))
    assert (evaluation.start, evaluation.end) == (at(7), at(9))


def test_the_rows_of_a_split(world: "World", tmp_path: Path) -> None:
    publish(world, tmp_path / "data", range(1, 13))
    store, spec = DatasetStore(LocalObjectStore(tmp_path / "data")), world.model().spec
    train, evaluation = store.split(spec, at(10))
    assert (train.rows, evaluation.rows) == (8, 4)
    frame = store.load(train.id, "trips")
    assert list(frame.columns) == ["entity_key", "event_time", "line", "distance", "temp", "label"]
    assert frame["event_time"].is_monotonic_increasing
    assert frame["event_time"].iloc[-1] == at(6, 18) + dt.timedelta(minutes=30)
    assert frame["label"].tolist() == [day % 3 == 0 for day in (3, 4, 5, 6) for _ in "AB"]
    assert frame["distance"].tolist() == [10.0 * day for day in (3, 4, 5, 6) for _ in "AB"]
    assert frame["label"].dtype == bool
    assert frame["temp"].dtype == np.float64
    assert set(store.load(evaluation.id, "trips")["event_time"].dt.day) == {7, 8}


def test_later_windows_cannot_change_a_version(world: "World", tmp_path: Path) -> None:
    publish(world, tmp_path / "data", range(1, 11))
    store, spec = DatasetStore(LocalObjectStore(tmp_path / "data")), world.model().spec
    before = store.split(spec, at(10))
    publish(world, tmp_path / "data", range(11, 16))
    assert store.split(spec, at(10)) == before


def test_a_label_that_was_not_yet_known_is_not_used(world: "World", tmp_path: Path) -> None:
    """At noon of the 10th, the window of the 10th is not closed: its labels are not read."""
    publish(world, tmp_path / "data", range(1, 13))
    store, spec = DatasetStore(LocalObjectStore(tmp_path / "data")), world.model().spec
    _, evaluation = store.split(spec, at(10, 12))
    assert evaluation.event_window.end == at(9, 12)
    days = set(store.load(evaluation.id, "trips")["event_time"].dt.day)
    assert days == {7, 8}


def test_events_without_label_are_left_out(world: "World", tmp_path: Path) -> None:
    world.declaration["data"]["label"]["max_unknown"] = 1
    for trip in world.trips:
        if trip["began"].day == 5:
            trip["delay"] = None
    publish(world, tmp_path / "data", range(1, 11))
    store = DatasetStore(LocalObjectStore(tmp_path / "data"))
    train, _ = store.split(world.model().spec, at(10))
    assert train.rows == 6
    assert 5 not in set(store.load(train.id, "trips")["event_time"].dt.day)


def test_nulls_are_what_the_models_expect(world: "World", tmp_path: Path) -> None:
    world.declaration["features"]["entity"] = ["distance"]
    for day in range(1, 21):
        world.trips[2 * day - 1]["distance"] += 5
        world.trips[2 * day - 2]["line"] = None
    world.weather = [hour for hour in world.weather if hour["hour"].day > 4]
    world.features_sql = world.features_sql.replace("ASOF LEFT JOIN", "LEFT JOIN").replace(
        "<= trips.began", "= date_trunc('hour', trips.began)"
    )
    world.labels_sql = "SELECT began AS event_time, distance, delay > 15 AS late FROM trips"
    publish(world, tmp_path / "data", range(1, 11))
    store = DatasetStore(LocalObjectStore(tmp_path / "data"))
    train, _ = store.split(world.model().spec, at(10))
    frame = store.load(train.id, "trips")
    assert frame["line"].tolist() == ["", "B"] * 4
    assert frame["temp"].isna().tolist() == [True] * 4 + [False] * 4


def test_the_id_is_the_content(world: "World", tmp_path: Path) -> None:
    spec = world.model().spec
    ids = []
    for root in ("one", "two"):
        publish(world, tmp_path / root, range(1, 11))
        datasets = DatasetStore(LocalObjectStore(tmp_path / root))
        ids.append([version.id for version in datasets.split(spec, at(10))])
    assert ids[0] == ids[1]
    world.trips[6]["distance"] += 1  # the 4th: training only
    publish(world, tmp_path / "two", range(1, 11))
    train, evaluation = DatasetStore(LocalObjectStore(tmp_path / "two")).split(spec, at(10))
    assert train.id != ids[0][0]
    assert evaluation.id == ids[0][1]


def test_an_old_version_is_loaded_as_it_was_after_a_correction(
    world: "World", tmp_path: Path
) -> None:
    publish(world, tmp_path / "data", range(1, 11))
    store, spec = DatasetStore(LocalObjectStore(tmp_path / "data")), world.model().spec
    old, _ = store.split(spec, at(10))
    before = store.load(old.id, "trips")
    world.trips[6]["distance"] = 777
    publish(world, tmp_path / "data", range(1, 11))
    new, _ = store.split(spec, at(10))
    assert store.load(old.id, "trips").equals(before)
    assert 777.0 in store.load(new.id, "trips")["distance"].tolist()


def test_no_labelled_rows(world: "World", tmp_path: Path) -> None:
    with pytest.raises(DataRejected, match="0 windows have features"):
        DatasetStore(LocalObjectStore(tmp_path / "data")).split(world.model().spec, at(10))


def test_an_altered_manifest_is_refused(world: "World", tmp_path: Path) -> None:
    publish(world, tmp_path / "data", range(1, 11))
    store = DatasetStore(LocalObjectStore(tmp_path / "data"))
    train, _ = store.split(world.model().spec, at(10))
    file = tmp_path / "data" / "trips" / "datasets" / f"{train.id}.json"
    file.write_text(file.read_text().replace('"rows": 8', '"rows": 7'))
    with pytest.raises(IntegrityBroken, match="digest mismatch"):
        store.load(train.id, "trips")
    with pytest.raises(SpecError, match="is not an id"):
        store.load("../../etc/passwd", "trips")


def test_a_damaged_snapshot_stops_the_load(world: "World", tmp_path: Path) -> None:
    publish(world, tmp_path / "data", range(1, 11))
    store = DatasetStore(LocalObjectStore(tmp_path / "data"))
    train, _ = store.split(world.model().spec, at(10))
    snapshots = SnapshotStore(LocalObjectStore(tmp_path / "data"))
    damaged = snapshots.get("trips", train.snapshot_ids[0])
    file = tmp_path / "data" / damaged.entry.files["features"].key
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(IntegrityBroken, match="digest mismatch"):
        store.load(train.id, "trips")
