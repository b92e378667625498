"""Snapshots: the id is the content, a pointer moves as a whole, damage is noticed."""

import datetime as dt
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ferryman.data.rows.cleaning import QUARANTINE
from ferryman.data.versions.catalogue_entry import SnapshotEntry, SourceUse
from ferryman.data.versions.content_id import content_id
from ferryman.data.versions.listing import list_windows, show_snapshot
from ferryman.data.versions.snapshots import SnapshotStore
from ferryman.errors import IntegrityBroken, SpecError
from ferryman.runtime.local_object_store import LocalObjectStore
from ferryman.spec.windows import Window, day_window

DAY = dt.datetime(2013, 1, 5, tzinfo=dt.UTC)
WINDOW = day_window(DAY)
TIME = pa.timestamp("us", "UTC")
ENTRY = SnapshotEntry(reason="test", actor="tester")


def features(**changes: list[Any]) -> Any:
    columns: dict[str, Any] = {
        "entity_key": ["A", "B", "C"],
        "event_time": pa.array([DAY + dt.timedelta(hours=hour) for hour in range(3)], TIME),
        "number": pa.array([1.5, None, -0.0]),
        "whole": pa.array([1, 2, None], pa.int64()),
        "word": pa.array(["ä", None, ""]),
        **changes,
    }
    return pa.table(columns)


def labels() -> Any:
    before = pa.array([DAY - dt.timedelta(hours=1)], TIME)
    return pa.table(
        {
            "entity_key": ["Z"],
            "event_time": before,
            "label": pa.array([True]),
            "known_at": pa.array([DAY], TIME),
        }
    )


@pytest.fixture
def store(tmp_path: Path) -> SnapshotStore:
    return SnapshotStore(LocalObjectStore(tmp_path))


def test_the_id_does_not_depend_on_how_a_table_is_stored(tmp_path: Path) -> None:
    plain = content_id(WINDOW, {"features": features()})
    chunked = pa.concat_tables([features().slice(0, 1), features().slice(1)])
    file = tmp_path / "x.parquet"
    pq.write_table(chunked, file, row_group_size=1, compression="gzip")
    for same in (chunked, pq.read_table(file), pa.concat_tables([features()] * 2).slice(3)):
        assert content_id(WINDOW, {"features": same}) == plain


@pytest.mark.parametrize(
    "changed",
    [
        {"number": pa.array([1.5, 0.0, -0.0])},
        {"number": pa.array([1.5000000000000002, None, -0.0])},
        {"whole": pa.array([1, 2, 0], pa.int64())},
        {"whole": pa.array([1, 2, None], pa.int32())},
        {"word": pa.array(["ä", "", None])},
        {"word": pa.array(["ä", None, " "])},
        {"entity_key": ["AB", "", "C"]},
        {"event_time": pa.array([DAY] * 3, TIME)},
    ],
)
def test_one_changed_cell_is_another_id(changed: dict[str, Any]) -> None:
    assert content_id(WINDOW, {"f": features(**changed)}) != content_id(WINDOW, {"f": features()})


def test_text_does_not_run_from_cell_to_cell() -> None:
    one = pa.table({"a": ["ab", "c"]})
    other = pa.table({"a": ["a", "bc"]})
    assert content_id(WINDOW, {"f": one}) != content_id(WINDOW, {"f": other})


def test_names_order_and_window_belong_to_the_id() -> None:
    ids = {
        content_id(WINDOW, {"f": features()}),
        content_id(WINDOW, {"g": features()}),
        content_id(
            WINDOW,
            {"f": features().rename_columns(["entity_key", "event_time", "n", "whole", "word"])},
        ),
        content_id(WINDOW, {"f": features().take([1, 0, 2])}),
        content_id(WINDOW.shifted(dt.timedelta(days=1)), {"f": features()}),
    }
    assert len(ids) == 5


def test_the_id_of_a_content_never_changes() -> None:
    # As the first release wrote it: another id here would make every known snapshot a stranger.
    assert content_id(WINDOW, {"features": features(), "labels": labels()}) == (
        "7d37125f531448abf36eab49f5057ca23221248b8300aa31587fc81dda85ae32"
    )


def test_text_is_taken_as_it_is_seen_not_as_it_lies_in_memory() -> None:
    words = pa.array(["gone", "ä", None, "", "b", "gone"])
    plain = pa.table({"a": pa.array(["ä", None, "", "b"])})
    parts = pa.chunked_array([words.slice(1, 2), words.slice(5, 0), words.slice(3, 2)])
    for same in (pa.table({"a": words.slice(1, 4)}), pa.table({"a": parts})):
        assert content_id(WINDOW, {"f": same}) == content_id(WINDOW, {"f": plain})


def test_what_is_written_is_read_back(store: SnapshotStore) -> None:
    snapshot = store.write("m", WINDOW, features(), labels(), ENTRY)
    assert snapshot.new
    assert store.read_features(snapshot).equals(features())
    assert store.read_labels(snapshot).equals(labels())
    entry = store.get("m", snapshot.id).entry
    assert (entry.rows, entry.labels) == (3, 1)
    assert entry.cutoff == DAY + dt.timedelta(hours=2)
    assert entry.table_schema["word"] == "string"
    assert entry.reason == "test"


def test_the_same_content_is_written_once(store: SnapshotStore, tmp_path: Path) -> None:
    first = store.write("m", WINDOW, features(), labels(), ENTRY)
    stamp = (tmp_path / "m" / "snapshots" / first.id / "entry.json").stat().st_mtime_ns
    again = store.write("m", WINDOW, features(), labels(), SnapshotEntry(reason="x", actor="y"))
    assert (again.id, again.new) == (first.id, False)
    assert (tmp_path / "m" / "snapshots" / first.id / "entry.json").stat().st_mtime_ns == stamp
    assert store.snapshot_ids("m") == [first.id]
    assert [entry.name for entry in (tmp_path / "m" / "snapshots").iterdir()] == [first.id]


def test_nobody_sees_a_snapshot_before_it_is_published(store: SnapshotStore) -> None:
    snapshot = store.write("m", WINDOW, features(), labels(), ENTRY)
    assert store.current("m", WINDOW) is None
    assert store.published("m") == []
    store.publish("m", WINDOW, snapshot.id, "first")
    current = store.current("m", WINDOW)
    assert current is not None
    assert current.id == snapshot.id
    assert [entry.id for entry in store.published("m")] == [snapshot.id]


def test_publishing_remembers_what_was_there_before(store: SnapshotStore) -> None:
    one = store.write("m", WINDOW, features(), labels(), ENTRY)
    two = store.write("m", WINDOW, features(whole=[1, 2, 3]), labels(), ENTRY)
    store.publish("m", WINDOW, one.id, "first")
    store.publish("m", WINDOW, one.id, "again")
    store.publish("m", WINDOW, two.id, "corrected")
    history = store.history("m", WINDOW)
    assert [(entry.id, entry.parent, entry.reason) for entry in history] == [
        (one.id, None, "first"),
        (two.id, one.id, "corrected"),
    ]


def test_published_windows_come_in_order_and_by_span(store: SnapshotStore) -> None:
    for shift in (2, 0, 1):
        window = WINDOW.shifted(dt.timedelta(days=shift))
        snapshot = store.write("m", window, features(), labels(), ENTRY)
        store.publish("m", window, snapshot.id, "r")
    assert [s.window.start.day for s in store.published("m")] == [5, 6, 7]
    span = Window(start=DAY + dt.timedelta(hours=30), end=DAY + dt.timedelta(days=2))
    assert [s.window.start.day for s in store.published("m", touching=span)] == [6]


def test_a_snapshot_of_another_window_is_not_published(store: SnapshotStore) -> None:
    snapshot = store.write("m", WINDOW, features(), labels(), ENTRY)
    with pytest.raises(SpecError, match="is of"):
        store.publish("m", WINDOW.shifted(dt.timedelta(days=1)), snapshot.id, "r")


@pytest.mark.parametrize("name", ["../x", "", "A" * 64, "0" * 63, "0" * 64 + "\n"])
def test_only_an_id_becomes_part_of_a_path(store: SnapshotStore, name: str) -> None:
    with pytest.raises(SpecError, match="is not an id"):
        store.get("m", name)


def test_damage_is_noticed(store: SnapshotStore, tmp_path: Path) -> None:
    snapshot = store.write("m", WINDOW, features(), labels(), ENTRY)
    file = tmp_path / snapshot.entry.files["features"].key
    damaged = bytearray(file.read_bytes())
    damaged[20] ^= 1
    file.write_bytes(bytes(damaged))
    with pytest.raises(IntegrityBroken, match="digest mismatch") as caught:
        store.read_features(snapshot)
    assert str(file) in caught.value.text
    with pytest.raises(IntegrityBroken):
        store.write("m", WINDOW, features(), labels(), ENTRY)
    assert store.read_labels(snapshot).num_rows == 1
    with pytest.raises(IntegrityBroken, match=r"no readable entry\.json"):
        store.get("m", "0" * 64)


def test_what_a_killed_writer_left_is_not_a_snapshot(store: SnapshotStore, tmp_path: Path) -> None:
    for unfinished in (
        "a" * 64 + "/features-0123456789abcdef.parquet",
        "b" * 64 + "/.entry.json.x",
    ):
        leftover = tmp_path / "m" / "snapshots" / unfinished
        leftover.parent.mkdir(parents=True)
        leftover.write_bytes(b"PAR1 half")
    snapshot = store.write("m", WINDOW, features(), labels(), ENTRY)
    assert store.snapshot_ids("m") == [snapshot.id]


def test_many_publishers_leave_one_whole_history(store: SnapshotStore) -> None:
    written = [
        store.write("m", WINDOW, features(whole=[1, 2, number]), labels(), ENTRY)
        for number in range(8)
    ]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda s: store.publish("m", WINDOW, s.id, "race"), written))
    history = store.history("m", WINDOW)
    assert {entry.id for entry in history} == {snapshot.id for snapshot in written}
    parents = [None, *(entry.id for entry in history[:-1])]
    assert [entry.parent for entry in history] == parents


def test_files_are_readable_by_others(store: SnapshotStore, tmp_path: Path) -> None:
    snapshot = store.write("m", WINDOW, features(), labels(), ENTRY)
    folder = tmp_path / "m" / "snapshots" / snapshot.id
    assert os.access(folder, os.R_OK | os.X_OK)
    assert {file.stat().st_mode & 0o777 for file in folder.iterdir()} == {0o644}


def test_large_tables_have_small_row_groups(store: SnapshotStore, tmp_path: Path) -> None:
    rows = 130_000
    big = pa.table(
        {
            "entity_key": [str(row) for row in range(rows)],
            "event_time": pa.array([DAY] * rows, TIME),
        }
    )
    snapshot = store.write("m", WINDOW, big, labels(), ENTRY)
    assert (
        pq.ParquetFile(tmp_path / snapshot.entry.files["features"].key).metadata.num_row_groups == 2
    )


def test_listing_and_showing(store: SnapshotStore, tmp_path: Path) -> None:
    snapshot = store.write("m", WINDOW, features(), labels(), ENTRY)
    assert list_windows(LocalObjectStore(tmp_path), "m") == []
    store.publish("m", WINDOW, snapshot.id, "nightly")
    (row,) = list_windows(LocalObjectStore(tmp_path), "m")
    assert (row.window, row.snapshot, row.rows, row.labels, row.why) == (
        str(WINDOW),
        snapshot.id,
        3,
        1,
        "nightly",
    )
    shown = show_snapshot(LocalObjectStore(tmp_path), "m", snapshot.id[:10])
    assert json.loads(json.dumps(shown))["publications"][0]["reason"] == "nightly"
    for beginning in ("", "zz", "../"):
        with pytest.raises(SpecError):
            show_snapshot(LocalObjectStore(tmp_path), "m", beginning)


def test_quarantine_is_kept_beside_and_is_no_part_of_the_id(store: SnapshotStore) -> None:
    row = dict.fromkeys(QUARANTINE.names, "x")
    rows = pa.Table.from_pylist([row, {**row, "column": None}], QUARANTINE)
    plain = content_id(WINDOW, {"features": features(), "labels": labels()})
    kept = store.write("m", WINDOW, features(), labels(), ENTRY, quarantine=rows)
    assert kept.id == plain
    assert kept.entry.quarantine is not None
    assert kept.entry.quarantine.key.startswith(f"m/quarantine/{WINDOW.key}/")
    assert store.read_quarantine(kept.entry).equals(rows)
    clean = store.write("m", WINDOW, features(whole=[1, 2, 3]), labels(), ENTRY, quarantine=None)
    assert clean.entry.quarantine is None
    assert store.read_quarantine(clean.entry).equals(QUARANTINE.empty_table())
    empty = store.write(
        "m", WINDOW, features(whole=[1, 2, 4]), labels(), ENTRY, quarantine=rows.slice(0, 0)
    )
    assert empty.entry.quarantine is None


def test_a_new_version_says_what_changed(store: SnapshotStore) -> None:
    def use(digest: str) -> dict[str, SourceUse]:
        part: dict[str, Any] = {"name": "flights_2013-02-01.parquet", "sha256": digest, "rows": 9}
        return {"flights": SourceUse(query="q", parts=[part])}

    first = store.write(
        "m", WINDOW, features(), labels(), ENTRY.model_copy(update={"sources": use("a")})
    )
    store.publish("m", WINDOW, first.id, "nightly")
    again = ENTRY.model_copy(
        update={"sources": use("b"), "parents": [first.id], "reason": "corrected by the tower"}
    )
    second = store.write("m", WINDOW, features().slice(1), labels(), again)
    assert second.entry.reason == "corrected by the tower"
    assert second.entry.change == (
        "source flights changed: flights_2013-02-01.parquet; rows 3 -> 2"
    )
    assert store.publish("m", WINDOW, second.id, "nightly").change == second.entry.change
    back = store.publish("m", WINDOW, first.id, "the tower was wrong")
    assert back.change.endswith("rows 2 -> 3")
    assert store.read_features(store.get("m", second.id)).num_rows == 2
