"""Requests to the model `tiny` as a server hands them to the prediction log."""

import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from logged_entries import entry_of

from ferryman.serving.log.prediction_log import read_predictions
from ferryman.serving.log.writer import Entry
from ferryman.serving.models.onnx_model import OnnxModel

DAY = datetime(2013, 1, 1, tzinfo=UTC)
NEXT = datetime(2013, 1, 2, tzinfo=UTC)
ROW = {"carrier": "UA", "distance": 100, "hour": 5.0, "event_time": "2013-01-01T10:15:00Z"}


def answered(model: OnnxModel, request: str, rows: int = 1) -> Entry:
    """A request of some rows that was answered just now."""
    return entry_of(model, [ROW] * rows, request)


def logged(places: Any) -> Counter[str]:
    """How many rows are in the log of each request."""
    return Counter(read_predictions(places, "tiny", DAY, NEXT)["request_id"].to_pylist())


def until(holds: Callable[[], bool], seconds: float = 30.0) -> None:
    """Wait for a condition; AssertionError when it does not come true."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not come true in time"
        time.sleep(0.02)


def files(root: Path) -> list[str]:
    """What is in a log's folder, but for its locks."""
    found = [file.relative_to(root).as_posix() for file in root.rglob("*") if file.is_file()]
    return sorted(name for name in found if not name.endswith(".lock"))
