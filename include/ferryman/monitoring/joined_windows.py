"""Keeps joined windows: <root>/<model>/joined/<window key>.parquet, one file a window.

A window is a day. It may be joined again when its labels were restated, or when predictions or
labels came late; its file is replaced as a whole. <window key>.inputs.json beside it tells what it
was joined from.
"""

import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ferryman.errors import IntegrityBroken
from ferryman.monitoring.labels import JOINED_SCHEMA, joined_schema, merge
from ferryman.runtime.files import read_json, write_atomic, write_json
from ferryman.runtime.score_column import scores_as
from ferryman.spec.metrics import Task
from ferryman.spec.windows import DAY, Window

_KEY = "%Y%m%dT%H%MZ"

logger = logging.getLogger(__name__)


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
        pq.write_table(joined, sink, compression="zstd")
        file = self.file(model, window)
        write_atomic(file, sink.getvalue().to_pybytes())
        return file

    def windows(self, model: str) -> list[Window]:
        """Every day that was joined, oldest first."""
        names = sorted(file.stem for file in (self._root / model / "joined").glob("*.parquet"))
        starts = [datetime.strptime(name, _KEY).replace(tzinfo=UTC) for name in names]
        return [Window(start=start, end=start + DAY) for start in starts]

    def write_inputs(self, model: str, window: Window, inputs: Mapping[str, Any]) -> None:
        """Keep what a window was joined from, so that what came later is noticed."""
        write_json(self._inputs(model, window), dict(inputs))

    def inputs(self, model: str, window: Window) -> dict[str, Any] | None:
        """What a window was joined from; None where that was never told, or cannot be read."""
        try:
            return dict(read_json(self._inputs(model, window)))
        except (OSError, ValueError, TypeError):
            return None

    def _inputs(self, model: str, window: Window) -> Path:
        return self._root / model / "joined" / f"{window.key}.inputs.json"

    def read(
        self,
        model: str,
        start: datetime,
        end: datetime,
        *,
        task: Task = "binary",
        classes: Sequence[str] = (),
    ) -> Any:
        """All joined rows of the windows that start in [start, end), each event once.

        Windows that were never joined are simply not there: coverage tells; so are rows that were
        joined for another task or other classes. IntegrityBroken (exit 7) names a file that cannot
        be read.
        """
        schema = joined_schema(task, classes)
        folder = self._root / model / "joined"
        first, last = (moment.strftime(_KEY) for moment in (start, end))
        files = [file for file in sorted(folder.glob("*.parquet")) if first <= file.stem < last]
        tables = [scores_as(_read(file), task, classes) for file in files]
        fitting = [
            table for table in tables if table.schema.field("label") == schema.field("label")
        ]
        if len(fitting) < len(tables):
            older = len(tables) - len(fitting)
            logger.info("%s: %d joined windows are of another task", model, older)
        return merge([table.filter(pc.is_valid(table["score"])) for table in fitting], schema)


def _read(file: Path) -> Any:
    try:
        # By its own schema: a folder's name, such as "date=", would add a column.
        table = pq.ParquetFile(file).read()
        if table.schema.names != JOINED_SCHEMA.names:
            raise pa.ArrowInvalid(f"its columns are {', '.join(table.schema.names)[:200]}")
        return table
    except (pa.ArrowInvalid, OSError) as error:
        raise IntegrityBroken(
            f"{file}: not a joined window: {error}",
            remedy="Run join_labels for that window again.",
        ) from error
