"""Windows that were labelled for another task make no dataset, alone or among others."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from test_data_datasets import at, publish

from ferryman.data.versions.dataset import DatasetStore
from ferryman.errors import DataRejected
from ferryman.runtime.local_object_store import LocalObjectStore

if TYPE_CHECKING:
    from conftest import World


@pytest.mark.parametrize(
    ("again", "words"),
    [(range(0), "are of type bool"), (range(1, 5), "snapshots of different declarations")],
)
def test_labels_of_another_task(world: "World", tmp_path: Path, again: range, words: str) -> None:
    publish(world, tmp_path / "data", range(1, 11))
    world.declaration["train"]["task"] = "regression"
    world.declaration["gates"] = {
        "thresholds": {"rmse": {"max": 9}},
        "champion": {"metric": "rmse"},
    }
    world.declaration["monitor"] = {"quality": {"metric": "rmse"}}
    world.labels_sql = "SELECT began AS event_time, line, delay AS late FROM trips"
    publish(world, tmp_path / "data", again)
    store, spec = DatasetStore(LocalObjectStore(tmp_path / "data")), world.model().spec
    with pytest.raises(DataRejected, match=words) as caught:
        store.split(spec, at(10))
    assert "again" in str(caught.value)
    publish(world, tmp_path / "data", range(1, 11))
    train, _ = store.split(spec, at(10))
    late = [16.0 if day % 3 == 0 else 3.0 for day in (3, 4, 5, 6) for _ in "AB"]
    assert store.load(train.id, "trips")["label"].tolist() == late
