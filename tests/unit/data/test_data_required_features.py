"""Features that no row may lack: a window without them is refused, and so is older data."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from test_data_datasets import at, publish

from ferryman.data.versions.dataset import DatasetStore
from ferryman.errors import DataRejected
from ferryman.runtime.local_object_store import LocalObjectStore

if TYPE_CHECKING:
    from conftest import World


def lacking_query(column: str, lacking: str) -> str:
    """Features whose second trip of the 5th has nothing in a column."""
    values = {"line": "'A'", "temp": "1.0", column: f"if(distance < 60, {{}}, {lacking})"}
    line = values["line"].format("'A'")
    temp = values["temp"].format("1.0")
    columns = f"began AS event_time, {line} AS line, distance, {temp}::DOUBLE AS temp"
    return f"SELECT {columns}, began AS known FROM trips"  # noqa: S608 - the words of this test


@pytest.mark.parametrize(
    ("column", "lacking"), [("temp", "NULL"), ("temp", "'nan'::DOUBLE"), ("line", "''")]
)
def test_a_window_that_lacks_it_is_refused(world: "World", column: str, lacking: str) -> None:
    world.declaration["features"]["entity"] = ["distance"]
    world.trips[9]["distance"] = 77
    world.features_sql = lacking_query(column, lacking)
    world.labels_sql = "SELECT began AS event_time, distance, delay > 15 AS late FROM trips"
    assert world.build(5).features.num_rows == 2
    world.declaration["features"]["columns"][column]["nullable"] = False
    with pytest.raises(DataRejected, match="is null in 1 of 2 rows, the first in row 2") as caught:
        world.build(5)
    assert f"column {column!r}" in caught.value.text
    assert "(77|2013-01-05" in caught.value.text


def test_windows_of_before_the_declaration_are_refused(world: "World", tmp_path: Path) -> None:
    world.weather = [hour for hour in world.weather if hour["hour"].day > 5]  # the 5th is null, too
    publish(world, tmp_path / "data", range(1, 11))
    store = DatasetStore(LocalObjectStore(tmp_path / "data"))
    world.declaration["features"]["columns"]["temp"]["nullable"] = False
    for _ in range(2):  # the manifest is there after the first
        with pytest.raises(DataRejected, match="the first of 2013-01-03") as caught:
            store.split(world.model().spec, at(10))
        assert "'temp' is null in" in caught.value.text
