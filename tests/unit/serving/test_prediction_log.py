"""The prediction log holds what was answered, in whole files, and never gets in the way."""

import os
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from logged_entries import append, entry_of

from ferryman.serving.log import finish as log_finish
from ferryman.serving.log import finishing
from ferryman.serving.log.journal import Journal
from ferryman.serving.log.prediction_log import read_predictions
from ferryman.serving.log.writer import Entry, PredictionLog
from ferryman.serving.models.onnx_model import Identity, OnnxModel

DAY = datetime(2013, 1, 1, tzinfo=UTC)
NEXT = datetime(2013, 1, 2, tzinfo=UTC)
ROW = {"carrier": "UA", "distance": 100, "hour": 5.0, "event_time": "2013-01-01T10:15:00Z"}


@pytest.fixture
def model(tmp_path: Path, make_bundle) -> OnnxModel:
    bundle = make_bundle(tmp_path / "bundles")
    return OnnxModel(bundle.folder, Identity("tiny", 3, 7, bundle.digest))


def entry(model: OnnxModel, rows: list[dict[str, Any]], request: str = "r1") -> Entry:
    return entry_of(model, rows, request)


@pytest.fixture
def drops() -> list[int]:
    return []


@pytest.fixture
def log(tmp_path: Path, drops: list[int]):
    log = PredictionLog(tmp_path / "log", drops.append, capacity=10)
    log.start()
    yield log
    log.close()


def test_rows_come_back_as_they_were_sent(log: PredictionLog, model, tmp_path: Path) -> None:
    log.put(entry(model, [ROW, {**ROW, "carrier": None, "distance": None, "entity_key": "k"}]))
    assert log.flush()
    table = read_predictions(tmp_path / "log", "tiny", DAY, NEXT)
    assert table.column_names == [
        *("request_id", "entity_key", "event_time", "model", "version", "epoch", "variant"),
        *("propensity", "score", "latency", "logged_at"),
        *("carrier", "distance", "hour"),
    ]
    first, second = table.to_pylist()
    assert (second["entity_key"], second["carrier"], second["distance"]) == ("r1#0", "UA", 100.0)
    assert (first["entity_key"], first["carrier"], first["distance"]) == ("k", None, None)
    assert (first["version"], first["epoch"], first["score"], first["hour"]) == (3, 7, 0.25, 5)
    assert (first["model"], first["variant"], first["latency"]) == ("tiny", "champion", 0.002)
    assert first["event_time"] == datetime(2013, 1, 1, 10, 15, tzinfo=UTC)


def test_entity_keys_are_composed_where_they_can_be(log, model, tmp_path: Path) -> None:
    log.put(entry(model, [{**ROW, "flight": 1545}, {**ROW, "flight": None}]))
    no_time = {key: value for key, value in ROW.items() if key != "event_time"}
    log.put(entry(model, [{**no_time, "flight": 1}], "r2"))
    assert log.flush()
    keys = read_predictions(tmp_path / "log", "tiny", DAY, NEXT)["entity_key"].to_pylist()
    assert keys == ["UA|1545|2013-01-01T10:15:00Z", "r1#1"]
    now = datetime.now(UTC)
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    recent = read_predictions(tmp_path / "log", "tiny", today, now)
    assert recent["entity_key"].to_pylist() == ["r2#0"]


def test_files_are_by_event_date(log, model, tmp_path: Path) -> None:
    log.put(entry(model, [ROW, {**ROW, "event_time": "2013-01-01T23:30:00-05:00"}]))
    assert log.flush()
    folders = sorted(folder.name for folder in (tmp_path / "log" / "tiny").iterdir())
    assert folders == ["date=2013-01-01", "date=2013-01-02"]
    assert read_predictions(tmp_path / "log", "tiny", DAY, NEXT).num_rows == 1
    assert read_predictions(tmp_path / "log", "tiny", NEXT, NEXT).num_rows == 0
    assert read_predictions(tmp_path / "log", "none", DAY, NEXT).num_rows == 0


def test_a_full_queue_drops_and_counts(tmp_path: Path, model, drops: list[int]) -> None:
    log = PredictionLog(tmp_path / "log", drops.append, capacity=3)
    log.put(entry(model, [ROW] * 2))  # the writer does not run yet
    log.put(entry(model, [ROW] * 2))
    assert drops == [2]
    large = np.broadcast_to(np.float64(1), (1, 9_000_000))  # 72 MB, if they were written out
    log.put(entry(model, [ROW])._replace(checked=[large]))
    assert drops == [2, 1]
    log.put(entry(model, [ROW]))
    log.start()
    assert log.flush()
    assert read_predictions(tmp_path / "log", "tiny", DAY, NEXT).num_rows == 3
    log.close()


def test_what_no_file_can_be_made_of_waits_in_its_journal(
    log, model, tmp_path: Path, drops: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finishing, "_SHORTEST", 0.05)

    def full(file: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(log_finish.os, "fsync", full)
        log.put(entry(model, [ROW] * 4))
        assert not log.flush(timeout=0.3)
        assert "No space left on device" in log.problem
    assert list((tmp_path / "log").rglob("*.parquet")) == []
    log.put(entry(model, [ROW]))
    assert log.flush()
    assert drops == [] and log.problem == ""
    assert read_predictions(tmp_path / "log", "tiny", DAY, NEXT).num_rows == 5
    assert list((tmp_path / "log" / ".journals").iterdir()) == []


def test_unfinished_files_are_neither_read_nor_kept(model, tmp_path: Path, drops) -> None:
    folder = tmp_path / "log" / "tiny" / "date=2013-01-01"
    folder.mkdir(parents=True)
    torn = folder / ".123-4-5.tmp"
    torn.write_bytes(b"PAR1 torn")
    begun = torn.with_name(".124-4-5.tmp")  # by another server, just now
    begun.write_bytes(b"PAR1 torn")
    os.utime(torn, (0, 0))
    assert read_predictions(tmp_path / "log", "tiny", DAY, NEXT).num_rows == 0
    log = PredictionLog(tmp_path / "log", drops.append)
    log.start()
    log.put(entry(model, [ROW]))
    log.close()  # closing writes what is queued
    assert not torn.exists()
    assert begun.exists()
    files = list(folder.glob("*.parquet"))
    assert len(files) == 1 and pq.read_metadata(files[0]).num_rows == 1


def test_versions_with_other_columns_are_read_together(log, model, tmp_path: Path) -> None:
    log.put(entry(model, [ROW]))
    assert log.flush()
    file = next((tmp_path / "log" / "tiny" / "date=2013-01-01").iterdir())
    newer = ["hour", "model", "variant", "latency"]  # files of older releases have none of them
    older = pq.ParquetFile(file).read().drop_columns(newer)
    pq.write_table(older, file.with_name("0-older.parquet"))
    table = read_predictions(tmp_path / "log", "tiny", DAY, NEXT)
    for name, value in {"hour": 5, "variant": "champion", "latency": 0.002}.items():
        assert sorted(table[name].to_pylist(), key=str) == sorted([None, value], key=str)


def test_it_may_end_before_it_began(tmp_path: Path, model, drops: list[int]) -> None:
    log = PredictionLog(tmp_path / "log", drops.append)
    log.put(entry(model, [ROW]))
    log.close()
    assert not (tmp_path / "log").exists()


def test_what_a_killed_replica_left_is_there_after_a_flush(log, model, tmp_path: Path) -> None:
    journal = Journal(tmp_path / "log", "other")
    append(journal, entry(model, [ROW], "other"))
    (file,) = (tmp_path / "log" / ".journals").iterdir()
    assert log.flush()
    assert read_predictions(tmp_path / "log", "tiny", DAY, NEXT).num_rows == 0  # it lives
    left = shutil.copy(file, file.with_name("1234-killed-1-1.journal"))
    assert log.flush()
    assert read_predictions(tmp_path / "log", "tiny", DAY, NEXT).num_rows == 1
    assert not left.exists()
    journal.close()


def test_long_spans_are_read_as_short_ones_are(log, model, tmp_path: Path) -> None:
    log.put(entry(model, [ROW, {**ROW, "event_time": "2014-06-01T00:00:00Z"}]))
    assert log.flush()
    years = (datetime(2012, 1, 1, tzinfo=UTC), datetime(2015, 1, 1, tzinfo=UTC))
    assert read_predictions(tmp_path / "log", "tiny", *years).num_rows == 2
