"""Finished days are merged into few files without a row lost or doubled; old files go by time."""

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from logged_entries import entry_of, write_entry

from ferryman.errors import IntegrityBroken
from ferryman.runtime.local_object_store import LocalObjectStore
from ferryman.serving.log.journal import Journal
from ferryman.serving.log.prediction_log import read_predictions
from ferryman.serving.log.upkeep import compact, find_outdated, upkeep_lock
from ferryman.serving.models.onnx_model import Identity, OnnxModel

DAY = datetime(2013, 1, 1, tzinfo=UTC)
ROW = {"carrier": "UA", "distance": 100, "hour": 5, "event_time": "2013-01-01T10:15:00Z"}
LOGGED = datetime(2026, 3, 1, 8, tzinfo=UTC)
LATER = LOGGED + timedelta(days=2)
Writer = Callable[..., None]


@pytest.fixture
def models(tmp_path: Path, make_bundle: Any) -> list[OnnxModel]:
    bundle = make_bundle(tmp_path / "bundles")
    return [OnnxModel(bundle.folder, Identity("tiny", v, v, bundle.digest)) for v in (1, 2)]


@pytest.fixture
def write(tmp_path: Path, models: list[OnnxModel], monkeypatch: pytest.MonkeyPatch) -> Writer:
    """Write a file of one row, logged at a moment, by the way that servers do it."""

    def write(request: str, logged: datetime = LOGGED, version: int = 1) -> None:
        model = models[version - 1]
        entry = entry_of(model, [ROW], request, scores=[0.5], at=logged.timestamp())
        with monkeypatch.context() as patch:
            patch.setattr(time, "time_ns", lambda: int(logged.timestamp()) * 10**9)
            name = Journal(tmp_path / "log", "a").name
        write_entry(tmp_path / "log", name, entry)

    return write


def requests(log: Path) -> list[str]:
    table = read_predictions(log, "tiny", DAY, DAY + timedelta(days=1))
    return sorted(table["request_id"].to_pylist())


def files(log: Path) -> list[Path]:
    return sorted((log / "tiny" / "date=2013-01-01").glob("*"))


def test_a_finished_day_becomes_a_file_a_version(tmp_path: Path, write: Writer) -> None:
    log = tmp_path / "log"
    for number in range(6):
        write(f"r{number}", version=1 + number % 2)
    assert compact(LocalObjectStore(log), "tiny", LATER) == 6
    assert len(files(log)) == 2
    assert requests(log) == ["r0", "r1", "r2", "r3", "r4", "r5"]
    assert compact(LocalObjectStore(log), "tiny", LATER) == 0
    write("late")
    assert compact(LocalObjectStore(log), "tiny", LATER) == 2
    assert requests(log) == ["late", "r0", "r1", "r2", "r3", "r4", "r5"]
    assert len(files(log)) == 2


def test_only_wanted_columns_are_read_also_of_merged_files(tmp_path: Path, write: Writer) -> None:
    log = tmp_path / "log"
    for number in range(4):
        write(f"r{number}")
    names = ("version", "hour", "unheard of", "request_id")

    def read() -> list[dict[str, Any]]:
        table = read_predictions(log, "tiny", DAY, DAY + timedelta(days=1), columns=names)
        return table.to_pylist()

    want = [{"version": 1, "hour": 5, "request_id": f"r{number}"} for number in range(4)]
    assert sorted(read(), key=str) == want
    kept = {file: file.read_bytes() for file in files(log)}
    assert compact(LocalObjectStore(log), "tiny", LATER) == 4
    for file, content in kept.items():
        file.write_bytes(content)  # as a maintenance that was killed leaves them
    assert sorted(read(), key=str) == want


def test_a_damaged_file_is_named(tmp_path: Path, write: Writer) -> None:
    log = tmp_path / "log"
    write("r1")
    (file,) = files(log)
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(IntegrityBroken, match=file.name):
        requests(log)


def test_what_is_fresh_or_foreign_is_left_alone(tmp_path: Path, write: Writer) -> None:
    log = tmp_path / "log"
    for number in range(3):
        write(f"r{number}")
    foreign = files(log)[0].with_name("by-hand.parquet")
    files(log)[0].rename(foreign)
    soon = LOGGED + timedelta(minutes=59)
    assert compact(LocalObjectStore(log), "tiny", soon) == 0
    assert find_outdated(LocalObjectStore(log), "tiny", LOGGED) == []
    assert compact(LocalObjectStore(log), "tiny", LATER) == 2
    assert foreign.exists()
    assert requests(log) == ["r0", "r1", "r2"]


def test_merging_that_is_killed_shows_no_row_twice(
    tmp_path: Path, write: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "log"
    for number in range(3):
        write(f"r{number}")
    with monkeypatch.context() as patch:
        patch.setattr(LocalObjectStore, "delete", lambda *_: None)  # killed before it removes
        compact(LocalObjectStore(log), "tiny", LATER)
    assert len(files(log)) == 4
    assert requests(log) == ["r0", "r1", "r2"]
    assert compact(LocalObjectStore(log), "tiny", LATER) == 3
    assert len(files(log)) == 1
    assert requests(log) == ["r0", "r1", "r2"]


def test_reading_while_files_are_merged_sees_every_row_once(
    tmp_path: Path, write: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "log"
    for number in range(3):
        write(f"r{number}")
    opened = LocalObjectStore.open

    def open_after_merging(store: LocalObjectStore, key: str) -> Any:
        if "-compact-" not in key:
            with monkeypatch.context() as patch:
                patch.setattr(LocalObjectStore, "open", opened)
                compact(LocalObjectStore(log), "tiny", LATER)
        return opened(store, key)

    with monkeypatch.context() as patch:
        patch.setattr(LocalObjectStore, "open", open_after_merging)
        assert requests(log) == ["r0", "r1", "r2"]
    assert len(files(log)) == 1


def test_files_go_by_the_day_of_logging(tmp_path: Path, write: Writer) -> None:
    log, store = tmp_path / "log", LocalObjectStore(tmp_path / "log")
    for day in range(3):
        write(f"a{day}", LOGGED + timedelta(days=day))
        write(f"b{day}", LOGGED + timedelta(days=day, hours=1))
    compact(store, "tiny", LATER + timedelta(days=9))
    assert len(files(log)) == 3
    assert find_outdated(store, "tiny", LOGGED) == []
    (found,) = find_outdated(store, "tiny", LOGGED + timedelta(days=1, hours=2))
    assert found.folder == "tiny/date=2013-01-01"
    for key in found.keys:
        store.delete(key)
    assert requests(log) == ["a2", "b2"]


def test_one_keeps_the_log_in_order_at_a_time(tmp_path: Path) -> None:
    with upkeep_lock(tmp_path) as first, upkeep_lock(tmp_path) as second:
        assert (first, second) == (True, False)
    with upkeep_lock(tmp_path) as again:
        assert again


def test_a_merged_file_names_what_it_replaced(tmp_path: Path, write: Writer) -> None:
    log = tmp_path / "log"
    write("r0")
    write("r1")
    names = {file.name for file in files(log)}
    compact(LocalObjectStore(log), "tiny", LATER)
    told = pq.read_schema(files(log)[0]).metadata[b"ferryman.sources"]
    assert set(json.loads(told)) == names
