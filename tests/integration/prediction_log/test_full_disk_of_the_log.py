"""A full disk costs rows of the log, which are counted, and never an answer."""

import logging
import shutil
from pathlib import Path

import pytest
from logged_requests import answered, files, logged, until

from ferryman.serving.log.writer import PredictionLog
from ferryman.serving.models.onnx_model import OnnxModel


def test_rows_are_counted_while_the_disk_is_full(
    small_disk: Path, model: OnnxModel, caplog: pytest.LogCaptureFixture
) -> None:
    root, drops = small_disk / "log", list[int]()
    log = PredictionLog(root, drops.append)
    log.start()
    log.put(answered(model, "before"))
    assert log.flush() and drops == []
    ballast = small_disk / "ballast"
    with pytest.raises(OSError, match="No space left"), ballast.open("wb", buffering=0) as stream:
        while True:
            stream.write(bytes(4096))
    with caplog.at_level(logging.ERROR):
        for number in range(3):
            log.put(answered(model, f"full{number}", rows=10))
            assert log.flush()
    assert sum(drops) == 30
    assert len([r for r in caplog.records if "No space left" in r.message]) == 1
    ballast.unlink()
    log.put(answered(model, "after"))
    assert log.flush()
    assert sum(drops) == 30
    assert logged(root) == {"before": 1, "after": 1}
    assert all(name.endswith(".parquet") for name in files(root)), "nothing half written is left"
    log.close()


def test_what_has_no_room_as_a_file_waits_in_its_journal(
    small_disk: Path, model: OnnxModel
) -> None:
    """The disk takes the journal, and not the file beside it: the rows come when there is room."""
    root, drops = small_disk / "log", list[int]()
    log = PredictionLog(root, drops.append)
    log.start()
    log.put(answered(model, "wide", rows=2000))
    journals = root / ".journals"
    until(lambda: log.queued == 0 and any(file.stat().st_size for file in journals.iterdir()))
    free = shutil.disk_usage(small_disk).free
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(max(0, free - 4096)))
    assert not log.flush(timeout=0.2)
    until(lambda: log.problem != "")
    assert "No space left" in log.problem
    assert logged(root) == {}
    ballast.unlink()
    assert log.flush()
    assert drops == [] and log.problem == ""
    assert logged(root) == {"wide": 2000}
    log.close()
