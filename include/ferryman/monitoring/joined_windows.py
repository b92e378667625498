"""Keeps joined windows: <root>/<model>/joined/<window key>.parquet, one file a window.

A window may be joined again when its labels were restated; its file is replaced as a whole.
"""

from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ferryman.errors import IntegrityBroken
from ferryman.monitoring.labels import JOINED_SCHEMA, merge
from ferryman.runtime.files import write_atomic
from ferryman.spec.windows import Window


class JoinedWindows:
    """The joined windows of all models below one folder."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def file(self, model: str, window: Window) -> Path:
        """Where a window's joined rows are kept."""
        return self._root / model / "joined" / f"{window.key}.parquet"

    def write(self, model: str, window: Window, joined: Any) -> Path:
        """Store a window's joined rows, in place of what was there; readers see old or new."""
        sink = pa.BufferOutputStream()
        pq.write_table(joined.cast(JOINED_SCHEMA), sink, compression="zstd")
        file = self.file(model, window)
        write_atomic(file, sink.getvalue().to_pybytes())
        return file

    def read(self, model: str, start: datetime, end: datetime) -> Any:
        """All joined rows of the windows that start in [start, end), each event once.

        Windows that were never joined are simply not there: coverage tells. IntegrityBroken
        (exit 7) names a file that cannot be read.
        """
        folder = self._root / model / "joined"
        first, last = (moment.strftime("%Y%m%dT%H%MZ") for moment in (start, end))
        files = [file for file in sorted(folder.glob("*.parquet")) if first <= file.stem < last]
        return merge([_read(file) for file in files])


def _read(file: Path) -> Any:
    try:
        return pq.read_table(file, schema=JOINED_SCHEMA)
    except (pa.ArrowInvalid, OSError) as error:
        raise IntegrityBroken(
            f"{file}: not a joined window: {error}",
            remedy="Run join_labels for that window again.",
        ) from error
