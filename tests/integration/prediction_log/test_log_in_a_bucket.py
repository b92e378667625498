"""The log's files go to a bucket, once each; with the bucket away, answers and log go on."""

import time
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from logged_entries import FinishedHere
from logged_requests import answered, files, logged, until
from services import s3_server
from services.s3_server import S3Server

from ferryman.runtime.connections import GivenConnections
from ferryman.runtime.local_object_store import LocalObjectStore
from ferryman.runtime.object_store import ObjectStore
from ferryman.runtime.prediction_places import log_destination, prediction_places
from ferryman.runtime.s3_object_store import S3ObjectStore
from ferryman.serving.log import finishing
from ferryman.serving.log.upkeep import compact
from ferryman.serving.log.writer import PredictionLog
from ferryman.serving.models.onnx_model import OnnxModel
from ferryman.settings import Settings


def fail(rows: int) -> None:
    pytest.fail(f"{rows} rows lost")


def uploading(root: Path, store: ObjectStore, **more: Any) -> PredictionLog:
    """A log whose files go to a place, by way of this process."""
    finish = partial(FinishedHere, root, open_store=lambda: store)
    return PredictionLog(root, fail, upload=True, finish=finish, **more)


@pytest.fixture
def store(s3: S3Server) -> S3ObjectStore:
    return S3ObjectStore(s3.connection("lake/predictions"), patience=0.5)


def test_files_go_to_the_bucket_and_are_read_from_there(
    store: S3ObjectStore, s3: S3Server, model: OnnxModel, tmp_path: Path
) -> None:
    settings = Settings(home=tmp_path / "home", predictions_connection="lake")
    places = prediction_places(
        settings, GivenConnections(s3.connection("lake/predictions", bucket=False))
    )
    root = settings.predictions_root
    logs = [uploading(root, store, replica=name) for name in "ab"]
    for number, log in enumerate(logs):
        log.start()
        log.put(answered(model, f"r{number}", rows=3))
    assert all(log.flush() for log in logs)
    assert files(root) == []
    assert len(store.keys("tiny")) == 2
    assert logged(places) == {"r0": 3, "r1": 3}
    for log in logs:
        log.close()


def test_a_bucket_that_is_away_costs_nothing_but_time(
    store: S3ObjectStore, s3: S3Server, model: OnnxModel, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(finishing, "_SHORTEST", 0.1)
    s3.methods = ("PUT",)
    s3.faults += [s3_server.refused] * 3
    log = uploading(tmp_path / "log", store)
    log.start()
    log.put(answered(model, "r0"))
    assert not log.flush(timeout=0.3)
    assert logged([LocalObjectStore(tmp_path / "log"), store]) == {"r0": 1}
    assert log.flush()
    assert files(tmp_path / "log") == []
    assert logged([LocalObjectStore(tmp_path / "log"), store]) == {"r0": 1}
    log.close()


def test_a_reply_that_is_lost_doubles_nothing(
    store: S3ObjectStore, s3: S3Server, model: OnnxModel, tmp_path: Path
) -> None:
    s3.methods = ("PUT",)
    s3.faults += [s3_server.lost_reply]
    log = uploading(tmp_path / "log", store)
    log.start()
    log.put(answered(model, "r0"))
    assert log.flush()
    assert logged([LocalObjectStore(tmp_path / "log"), store]) == {"r0": 1}
    log.close()


def test_the_spool_is_bounded_and_what_is_beyond_is_counted(
    model: OnnxModel, tmp_path: Path
) -> None:
    def away() -> ObjectStore:
        raise ConnectionError("no way to the bucket")

    drops: list[int] = []
    root = tmp_path / "log"
    log = PredictionLog(
        root,
        drops.append,
        upload=True,
        spool_bytes=6_000,
        finish=lambda: FinishedHere(root, open_store=away),
    )
    log.start()
    for number in range(6):
        log.put(answered(model, f"r{number}", rows=10))
        assert not log.flush(timeout=0.5)
    kept = logged(tmp_path / "log")
    assert sum(kept.values()) + sum(drops) == 60
    assert 10 <= sum(drops) <= 50
    started = time.monotonic()
    log.close()
    assert time.monotonic() - started < 10
    assert logged(tmp_path / "log") == kept, "they wait for the next server"


def test_what_waits_is_brought_by_the_next_server(
    store: S3ObjectStore, model: OnnxModel, tmp_path: Path
) -> None:
    first = PredictionLog(tmp_path / "log", fail)
    first.start()
    first.put(answered(model, "r0"))
    first.close()
    assert len(files(tmp_path / "log")) == 1
    second = uploading(tmp_path / "log", store)
    second.start()
    until(lambda: files(tmp_path / "log") == [])
    assert logged([store]) == {"r0": 1}
    second.close()


def test_a_finished_day_is_merged_in_the_bucket(
    store: S3ObjectStore, model: OnnxModel, tmp_path: Path
) -> None:
    log = uploading(tmp_path / "log", store)
    log.start()
    for number in range(3):
        log.put(answered(model, f"r{number}"))
        assert log.flush()
    log.close()
    assert compact(store, "tiny", datetime.now(UTC) + timedelta(hours=2)) == 3
    assert len(store.keys("tiny")) == 1
    assert logged([store]) == {"r0": 1, "r1": 1, "r2": 1}


def test_the_destination_is_opened_late(tmp_path: Path) -> None:
    assert log_destination(Settings(home=tmp_path)) is None
    folder = {"out": f"file://{tmp_path}/elsewhere"}
    settings = Settings(home=tmp_path, predictions_connection="out", connection_urls=folder)
    open_store = log_destination(settings)
    assert open_store is not None
    assert open_store().create("tiny/date=2013-01-01/x.parquet", b"x")
    assert (tmp_path / "elsewhere" / "tiny" / "date=2013-01-01" / "x.parquet").exists()


def test_the_process_that_makes_files_brings_them_away(
    model: OnnxModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FERRYMAN_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("FERRYMAN_PREDICTIONS_CONNECTION", "out")
    monkeypatch.setenv("FERRYMAN_CONNECTION_OUT", f"file://{tmp_path}/elsewhere")
    log = PredictionLog(tmp_path / "log", fail, upload=True)
    log.start()
    log.put(answered(model, "r0", rows=3))
    assert log.flush()
    assert files(tmp_path / "log") == []
    assert logged(tmp_path / "elsewhere") == {"r0": 3}
    monkeypatch.setenv("FERRYMAN_PREDICTIONS_CONNECTION", "nowhere")
    log.put(answered(model, "r1"))
    assert not log.flush(timeout=0.2)
    until(lambda: log.problem != "")
    assert "no connection 'nowhere'" in log.problem
    assert logged(tmp_path / "log") == {"r1": 1}
    log.close()
