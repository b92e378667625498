"""The catalogue answers without opening data: by kind, text, column and model."""

import datetime as dt
from pathlib import Path

import pyarrow as pa
import pytest

from ferryman.data.versions.catalogue_entry import SourceUse
from ferryman.data.versions.catalogue_search import KINDS, Kind, Wanted, search
from ferryman.data.versions.dataset_catalogue import DatasetCatalogue, describe
from ferryman.data.versions.dataset_version import DatasetVersion, manifest_key
from ferryman.data.versions.pins import Pins
from ferryman.data.versions.snapshots import SnapshotEntry, SnapshotStore
from ferryman.runtime.files import json_bytes
from ferryman.runtime.local_object_store import LocalObjectStore
from ferryman.spec.windows import day_window

DAY = dt.datetime(2013, 1, 5, tzinfo=dt.UTC)
KEYS = {"entity_key": ["a"], "event_time": pa.array([DAY], pa.timestamp("us", "UTC"))}


def add_window(objects: LocalObjectStore, model: str, column: str, *, published: bool) -> str:
    use = SourceUse(
        described="file://sensors/*.csv",
        query="SELECT level FROM Rivers",
        parts=[{"name": "rivers_2013-01-05.csv", "sha256": "ab" * 32, "size": 3, "rows": 1}],
    )
    entry = SnapshotEntry(reason="nightly", actor="ann", sources={"rivers": use})
    store, window = SnapshotStore(objects), day_window(DAY)
    made = store.write(model, window, pa.table({**KEYS, column: [1.0]}), pa.table(KEYS), entry)
    if published:
        store.publish(model, window, made.id, "nightly")
    return made.id


def add_dataset(objects: LocalObjectStore, model: str) -> str:
    bare = DatasetVersion(
        model=model,
        role="train",
        cutoff=DAY,
        event_window=day_window(DAY),
        label="flood",
        columns=[("level", "number")],
        snapshot_ids=["1" * 64],
        label_snapshot_ids=["2" * 64],
        rows=7,
    )
    version = bare.model_copy(update={"id": bare.content_digest()})
    objects.create(manifest_key(model, version.id), json_bytes(version.model_dump(mode="json")))
    entry = describe(version).model_copy(update={"reason": "drift of level", "actor": "bob"})
    DatasetCatalogue(objects).record(entry)
    return version.id


@pytest.fixture
def objects(tmp_path: Path) -> LocalObjectStore:
    return LocalObjectStore(tmp_path)


def test_everything_is_found_by_what_is_known_of_it(objects: LocalObjectStore) -> None:
    hidden = add_window(objects, "tide", "height", published=False)
    window = add_window(objects, "tide", "level", published=True)
    other = add_window(objects, "rain", "drops", published=True)
    dataset = add_dataset(objects, "tide")
    Pins(objects).pin("tide", "audit-7", dataset, reason="asked", actor="ann")

    def found(models: tuple[str, ...] = ("rain", "tide"), **wanted: object) -> list[str]:
        return [entry.id for entry in search(objects, models, Wanted(**wanted))]  # type: ignore[arg-type]

    windows: tuple[Kind, ...] = ("windows",)
    assert KINDS == ("windows", "datasets")
    assert found() == [other, window, dataset]
    assert set(found(everything=True)) == {other, window, hidden, dataset}
    assert found(kinds=windows) == [other, window]
    assert found(("tide",), kinds=("datasets",)) == [dataset]
    assert found(column="level") == [window, dataset]
    assert found(column="lev") == []
    for text, expected in {
        "RIVERS_2013-01": [other, window],
        "from rivers": [other, window],
        "ab" * 8: [other, window],
        "drift of": [dataset],
        "bob": [dataset],
        "flood": [dataset],
        "audit-7": [dataset],
        dataset[:9]: [dataset],
        "drops": [other],
        "nowhere": [],
    }.items():
        assert found(text=text) == expected, text
    (told,) = search(objects, ["tide"], Wanted(kinds=("datasets",)))
    assert (told.rows, told.reason, told.actor, told.pins) == (
        7,
        "drift of level",
        "bob",
        ("audit-7",),
    )


def test_no_table_is_opened(objects: LocalObjectStore) -> None:
    add_window(objects, "tide", "level", published=True)
    for file in objects.root.rglob("*.parquet"):
        file.write_bytes(b"")
    (told,) = search(objects, ["tide"], Wanted(text="level"))
    assert (told.rows, told.state, told.sources) == (1, "published", ("rivers",))
