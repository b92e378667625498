"""Groups that may not cross a split, and what the catalogue knows of each version."""

import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from ferryman.data.versions.dataset import DatasetStore
from ferryman.data.versions.dataset_catalogue import (
    DatasetCatalogue,
    DatasetEntry,
    Override,
    label_figures,
)
from ferryman.data.versions.snapshots import SnapshotEntry, SnapshotStore
from ferryman.data.windows.profile import profile_table
from ferryman.errors import DataRejected, IntegrityBroken, SpecError
from ferryman.runtime.local_object_store import LocalObjectStore
from ferryman.spec.windows import day_window

if TYPE_CHECKING:
    from conftest import World


ENTRY_OF_A_VERSION = DatasetEntry(
    id="v",
    model="trips",
    role="train",
    cutoff=dt.datetime(2013, 1, 10, tzinfo=dt.UTC),
    event_window=day_window(dt.datetime(2013, 1, 3, tzinfo=dt.UTC)),
    rows=8,
    label="late",
    windows=1,
    table_schema={},
)


def at(day: int) -> dt.datetime:
    return dt.datetime(2013, 1, day, tzinfo=dt.UTC)


@pytest.fixture
def objects(tmp_path: Path) -> LocalObjectStore:
    return LocalObjectStore(tmp_path / "data")


def publish(world: "World", objects: LocalObjectStore, days: range) -> None:
    store = SnapshotStore(objects)
    ingestion = world.ingestion()
    for day in days:
        built = ingestion.build(day_window(at(day)))
        profile = profile_table(built.features, world.model().spec.features.columns)
        entry = SnapshotEntry(reason="test", actor="tester", profile=profile)
        snapshot = store.write("trips", built.window, built.features, built.labels, entry)
        store.publish("trips", built.window, snapshot.id, "test")


def by_line(world: "World", line_of: "dict[int, str]") -> None:
    """Every day's trips are of one line, which is no feature; `A|1` tests the key's separator."""
    world.declaration["train"]["group"] = ["line"]
    del world.declaration["features"]["columns"]["line"]
    for trip in world.trips:
        trip["line"] = line_of.get(trip["began"].day, "spare|1")


def test_no_group_of_the_evaluation_rows_trains(world: "World", objects: LocalObjectStore) -> None:
    """Training is the 3rd to the 6th, evaluation the 7th and 8th."""
    by_line(world, {3: "x|1", 4: "x|2", 5: "x|1", 6: "y", 7: "x|1", 8: "z"})
    publish(world, objects, range(1, 11))
    store, spec = DatasetStore(objects), world.model().spec
    train, evaluation = store.split(spec, at(10))
    assert set(store.load(train.id, "trips")["event_time"].dt.day) == {4, 6}
    assert set(store.load(evaluation.id, "trips")["event_time"].dt.day) == {7, 8}
    assert "line" not in store.load(train.id, "trips").columns
    assert (train.rows, train.group, train.without_groups_of) == (4, ["line"], evaluation.id)
    entry = DatasetCatalogue(objects).entry("trips", train.id)
    assert entry is not None
    assert entry.split is not None
    assert (entry.split.left_out_rows, entry.split.left_out_groups) == (4, 1)
    assert store.split(spec, at(10)) == (train, evaluation)


def test_a_group_changes_the_id_and_no_group_does_not(
    world: "World", objects: LocalObjectStore
) -> None:
    publish(world, objects, range(1, 11))
    plain, evaluation = DatasetStore(objects).split(world.model().spec, at(10))
    assert plain.content_digest() == plain.id
    world.declaration["train"]["group"] = ["distance"]  # another each day: nothing is left out
    grouped, same = DatasetStore(objects).split(world.model().spec, at(10))
    assert same == evaluation
    assert grouped.id != plain.id
    assert grouped.rows == plain.rows


def test_groups_that_take_every_training_row(world: "World", objects: LocalObjectStore) -> None:
    publish(world, objects, range(1, 11))
    world.declaration["train"]["group"] = ["line"]
    with pytest.raises(DataRejected, match="all 8 belong to the 2 groups of line"):
        DatasetStore(objects).split(world.model().spec, at(10))


def test_a_column_that_old_windows_do_not_have(world: "World", objects: LocalObjectStore) -> None:
    publish(world, objects, range(1, 11))
    world.declaration["train"]["group"] = ["line", "plane"]
    with pytest.raises(DataRejected, match="has no column 'plane': it was ingested before"):
        DatasetStore(objects).split(world.model().spec, at(10))


def test_a_column_whose_type_was_declared_anew(world: "World", objects: LocalObjectStore) -> None:
    publish(world, objects, range(1, 6))
    world.declaration["features"]["columns"]["distance"] = {"type": "number"}
    publish(world, objects, range(6, 11))
    with pytest.raises(DataRejected, match="snapshots of different declarations"):
        DatasetStore(objects).split(world.model().spec, at(10))


@pytest.mark.parametrize(
    ("label", "words"),
    [
        ([True, False, False, False], "25.0%"),
        (["b", "a", "b", "c", "d", "b", "a", "c"], "b 37.5%, a 25.0%, c 25.0%, 1 more"),
        ([1.0, 2.0, 3.0, 4.0], "2.5 ± 1.12"),
        (pa.array([], pa.string()), ""),
    ],
)
def test_what_an_entry_says_of_labels(label: object, words: str) -> None:
    figures = label_figures(pa.chunked_array([label]))
    entry = ENTRY_OF_A_VERSION.model_copy(update=figures)
    assert entry.label_words == words
    again = DatasetEntry.model_validate_json(entry.model_dump_json())
    assert again.label_words == words


def test_an_entry_of_before_says_nothing_more() -> None:
    kept = ENTRY_OF_A_VERSION.model_dump(mode="json")
    for name in ("class_shares", "label_mean", "label_sd"):
        del kept[name]
    assert DatasetEntry.model_validate(kept).label_words == ""


def test_what_the_catalogue_says_of_a_version(world: "World", objects: LocalObjectStore) -> None:
    publish(world, objects, range(1, 13))
    spec = world.model().spec
    first, _ = DatasetStore(objects, reason="the first", actor="ann").split(spec, at(10))
    second, evaluation = DatasetStore(objects, reason="newer", actor="bob").split(spec, at(11))
    DatasetStore(objects, reason="again", actor="eve").split(spec, at(10))
    catalogue = DatasetCatalogue(objects)
    entries = {entry.id: entry for entry in catalogue.entries("trips")}
    assert len(entries) == 4
    assert (entries[first.id].reason, entries[first.id].actor) == ("the first", "ann")
    assert entries[first.id].parents == []
    entry = entries[second.id]
    assert entry.parents == [first.id]
    assert (entry.rows, entry.windows, entry.label_share) == (8, 4, 0.25)
    assert entry.size == sum(
        file.size
        for name in {*second.snapshot_ids, *second.label_snapshot_ids}
        for file in SnapshotStore(objects).get("trips", name).entry.files.values()
    )
    assert entry.table_schema == {"line": "category", "distance": "integer", "temp": "number"}
    assert entry.split is not None
    assert entry.split.evaluation == evaluation.id
    days = [
        SnapshotStore(objects).get("trips", name).entry.profile["distance"]
        for name in second.snapshot_ids
    ]
    merged = entry.profile["distance"]
    assert merged["count"] == sum(day["count"] for day in days) == 8  # type: ignore[index, misc, call-overload]
    assert merged["max"] == max(day["max"] for day in days)  # type: ignore[index, type-var, call-overload]
    shown = catalogue.show("trips", second.id)
    assert shown is not None
    assert shown["snapshot_ids"] == second.snapshot_ids


def test_a_version_is_found_by_a_unique_beginning(
    world: "World", objects: LocalObjectStore
) -> None:
    publish(world, objects, range(1, 11))
    train, _ = DatasetStore(objects).split(world.model().spec, at(10))
    catalogue = DatasetCatalogue(objects)
    assert catalogue.resolve("trips", train.id[:12]) == train.id
    for wrong in ("zz", train.id[:3], "", "f" * 64):
        with pytest.raises(SpecError, match="data list --model trips"):
            catalogue.resolve("trips", wrong)


def test_an_entry_that_is_missing_or_damaged(world: "World", objects: LocalObjectStore) -> None:
    """A killed process leaves a manifest without entry: the next split completes it."""
    publish(world, objects, range(1, 11))
    train, _ = DatasetStore(objects, reason="first").split(world.model().spec, at(10))
    file = objects.root / "trips" / "datasets" / f"{train.id}.entry.json"
    file.unlink()
    catalogue = DatasetCatalogue(objects)
    bare = catalogue.entry("trips", train.id)
    assert bare is not None
    assert (bare.rows, bare.reason) == (8, "")
    DatasetStore(objects, reason="second").split(world.model().spec, at(10))
    mended = catalogue.entry("trips", train.id)
    assert mended is not None
    assert mended.reason == "second"
    file.write_text("{")
    with pytest.raises(IntegrityBroken, match=r"entry\.json: not readable"):
        catalogue.entries("trips")
    assert catalogue.entry("trips", "0" * 64) is None


def test_an_override_stands_for_its_run_key_alone(objects: LocalObjectStore) -> None:
    catalogue = DatasetCatalogue(objects)
    given = Override(
        dataset="a" * 64,
        run_key="k",
        actor="ann",
        reason="it is known before",
        findings=["x"],
        at=at(1),
    )
    assert catalogue.allow("trips", given) == given
    assert catalogue.allow("trips", given.model_copy(update={"actor": "bob"})) == given
    assert catalogue.override("trips", "a" * 64, "k") == given
    assert catalogue.override("trips", "a" * 64, "other") is None
    assert catalogue.overrides("trips", "a" * 64) == [given]
    assert catalogue.ids("trips") == []
