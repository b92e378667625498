"""Labels as clients posted them some time ago, on the way that servers keep them."""

import time
from datetime import datetime
from pathlib import Path
from unittest.mock import patch

from ferryman.serving.labels.label_files import pack_labels
from ferryman.serving.labels.posted_rows import PostedRow
from ferryman.serving.log.finish import recover
from ferryman.serving.log.journal import LABELS, Journal


def post(log: Path, model: str, key: str, label: bool | None, received: datetime) -> None:
    """A file of one label of a binary model, which came at a moment."""
    moment = int(received.timestamp() * 10**6)
    with patch.object(time, "time_ns", lambda: moment * 1000):
        journal = Journal(log, key, LABELS)
    row = PostedRow(key, None, None, label, None)
    journal.append(pack_labels(model, "binary", [row], moment, None), 1)
    journal.close()
    assert recover(log).rows >= 1
