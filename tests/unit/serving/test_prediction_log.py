"""The prediction log holds what was answered, in whole files, and never gets in the way."""

import json
import os
import shutil
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from ferryman.serving.log import journal as log_journal
from ferryman.serving.log.prediction_log import read_predictions
from ferryman.serving.log.rows import batches_of
from ferryman.serving.log.writer import Entry, PredictionLog
from ferryman.serving.models.onnx_model import Identity, OnnxModel
from ferryman.serving.protocols.requests import Request
from ferryman.serving.protocols.routes import find_route

DAY = datetime(2013, 1, 1, tzinfo=UTC)
NEXT = datetime(2013, 1, 2, tzinfo=UTC)
ROUTE = find_route("/v1/models/tiny:predict")
ROW = {"carrier": "UA", "distance": 100, "hour": 5.0, "event_time": "2013-01-01T10:15:00Z"}


@pytest.fixture
def model(tmp_path: Path, make_bundle) -> OnnxModel:
    bundle = make_bundle(tmp_path / "bundles")
    return OnnxModel(bundle.folder, Identity("tiny", 3, 7, bundle.digest))


def entry(model: OnnxModel, rows: list[dict[str, Any]], request: str = "r1") -> Entry:
    body = json.dumps({"instances": rows}).encode()
    scores = [0.25] * len(rows)
    return Entry(request.encode(), model, Request(ROUTE, body), scores, time.time(), 0.002)


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
        *("score", "latency", "logged_at"),
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
    padded = entry(model, [ROW])
    body = padded.request.body + b" " * 65_000_000 * 2
    log.put(padded._replace(request=padded.request._replace(body=body)))
    assert drops == [2, 1]
    log.put(entry(model, [ROW]))
    log.start()
    assert log.flush()
    assert read_predictions(tmp_path / "log", "tiny", DAY, NEXT).num_rows == 3
    log.close()


def test_a_full_disk_drops_counts_and_recovers(
    log, model, tmp_path: Path, drops: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(file: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(log_journal.os, "fsync", full)
        log.put(entry(model, [ROW] * 4))
        assert log.flush()
    assert drops == [4]
    assert [file.name for file in (tmp_path / "log").rglob("*") if file.is_file()] == []
    log.put(entry(model, [ROW]))
    assert log.flush()
    assert read_predictions(tmp_path / "log", "tiny", DAY, NEXT).num_rows == 1


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
    journal = log_journal.Journal(tmp_path / "log", "other")
    journal.append(list(batches_of(model, [entry(model, [ROW], "other")])))
    (file,) = (tmp_path / "log" / ".journals").iterdir()
    assert log.flush()
    assert read_predictions(tmp_path / "log", "tiny", DAY, NEXT).num_rows == 0  # it lives
    left = shutil.copy(file, file.with_name("1234-killed-1-1.journal"))
    assert log.flush()
    assert read_predictions(tmp_path / "log", "tiny", DAY, NEXT).num_rows == 1
    assert not left.exists()
    journal.remove()


def test_long_spans_are_read_as_short_ones_are(log, model, tmp_path: Path) -> None:
    log.put(entry(model, [ROW, {**ROW, "event_time": "2014-06-01T00:00:00Z"}]))
    assert log.flush()
    years = (datetime(2012, 1, 1, tzinfo=UTC), datetime(2015, 1, 1, tzinfo=UTC))
    assert read_predictions(tmp_path / "log", "tiny", *years).num_rows == 2
