"""Posted labels as Parquet files, one a journal, model and task: how they are laid out.

Files are <model>/labels/received=YYYY-MM-DD/*.parquet beside the prediction log, by the day on
which the server had them, UTC.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple, cast

import numpy as np

from ferryman.runtime.score_column import label_type
from ferryman.serving.labels.posted_rows import PostedRow
from ferryman.serving.log.frames import Frame, pack_head
from ferryman.spec.metrics import Task

FOLDER, DAY = "labels", "received="
DAYS = f"{FOLDER}/{DAY}"  # the folders of days begin so, below the model's
_DAY_MICROSECONDS = 86_400_000_000


class LabelPlace(NamedTuple):
    """Where labels belong: the model, the day on which they came, and of which task they are."""

    model: str
    day: str
    part: str

    @property
    def folder(self) -> str:
        """The folder of the day, below that of the log."""
        return f"{self.model}/{DAYS}{self.day}"


def posted_schema(task: Task) -> Any:
    """The columns of posted labels.

    entity_key or request_id names the prediction; label (null: taken back); received_at is the
    server's time, from which on the label was known here; event_time and known_at what the client
    said, null where it did not; post names the request, where its client gave it an id.
    """
    import pyarrow as pa

    moment, text = pa.timestamp("us", tz="UTC"), pa.string()
    return pa.schema(
        [
            ("entity_key", text),
            ("request_id", text),
            ("event_time", moment),
            ("label", label_type(task)),
            ("received_at", moment),
            ("known_at", moment),
            ("post", text),
        ]
    )


def pack_labels(
    model: str, task: Task, rows: Sequence[PostedRow], received: int, post: str | None
) -> bytes:
    """A journal's frame of one request; `received` in microseconds since 1970."""
    told = {"model": model, "task": task, "received": received, "post": post}
    return pack_head({"rows": len(rows), **told, "labels": [list(row) for row in rows]})


def label_batches(frame: Frame) -> Iterator[tuple[LabelPlace, Any]]:
    """A frame's rows as an Arrow batch; ValueError, KeyError or TypeError where it is not sound."""
    import pyarrow as pa

    from ferryman.serving.log import columns  # it loads pyarrow, which a replica does not

    head = frame.head
    task, received = cast(Task, head["task"]), int(head["received"])
    rows = [PostedRow(*row) for row in head["labels"]]
    cells = [
        columns.text_column([row.entity_key for row in rows]),
        columns.text_column([row.request_id for row in rows]),
        _times([row.event_time for row in rows]),
        _outcomes([row.label for row in rows], task),
        columns.time_column([received] * len(rows)),
        _times([row.known_at for row in rows]),
        columns.text_column([head["post"]] * len(rows)),
    ]
    day = datetime.fromtimestamp(received // 1_000_000, UTC).strftime("%Y-%m-%d")
    batch = pa.RecordBatch.from_arrays(cells, schema=posted_schema(task))
    yield LabelPlace(str(head["model"]), day, task), batch


def _outcomes(values: Sequence[Any], task: Task) -> Any:
    from ferryman.serving.log import columns

    if task == "multiclass":
        return columns.text_column(values)
    numbers = columns.number_column(_numbers(values), whole=task == "binary")
    return numbers.cast(label_type(task))


def _times(values: Sequence[int | None]) -> Any:
    import pyarrow as pa

    from ferryman.serving.log import columns

    # Microseconds of these centuries are exact in a float64.
    whole = columns.number_column(_numbers(values), whole=True)
    return whole.cast(pa.timestamp("us", tz="UTC"))


def _numbers(values: Sequence[Any]) -> list[float]:
    return [np.nan if value is None else float(value) for value in values]
