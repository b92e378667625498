"""Answered requests as a server hands them to the prediction log, and journals finished here."""

import io
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ferryman.serving.log.entries import Entry
from ferryman.serving.log.finish import Result, finish, write_file
from ferryman.serving.log.frames import Frame, Layout, frames, pack
from ferryman.serving.log.journal import Journal
from ferryman.serving.log.rows import Place, batches_of
from ferryman.serving.models.onnx_model import OnnxModel
from ferryman.serving.protocols import dialects
from ferryman.serving.protocols.requests import Request
from ferryman.serving.protocols.routes import find_route

_ROUTE = find_route("/v1/models/tiny:predict")


class FinishedHere:
    """Does what the child process does, in this one and at once."""

    def __init__(
        self, root: Path, *, upload: bool = False, open_store: Callable[[], Any] | None = None
    ) -> None:
        assert not upload
        self._result = finish(root, open_store)

    def result(self) -> Result:
        return self._result


def entry_of(
    model: OnnxModel,
    asked: Request | Sequence[dict[str, Any]],
    request_id: str = "r1",
    *,
    scores: Any = None,
    at: float | None = None,
    seconds: float = 0.002,
) -> Entry:
    """A request, or rows, that were answered: each with 0.25, just now, if nothing else is said."""
    if not isinstance(asked, Request):
        asked = Request(_ROUTE, json.dumps({"instances": list(asked)}).encode())
    rows = dialects.read(asked, model.schema).rows
    model.schema.feed(rows)
    answers = [0.25] * rows.size if scores is None else scores
    moment = time.time() if at is None else at
    entry = Entry(request_id.encode(), model, rows.checked, rows.given, answers, moment, seconds)
    return entry._replace(size=len(asked.body))


def packed(*entries: Entry) -> bytes:
    """The frame of entries of one model."""
    return pack(Layout(entries[0].model), entries)


def batches(*entries: Entry) -> list[tuple[Place, Any]]:
    """What a journal that holds these entries becomes."""
    (frame,) = frames(io.BytesIO(packed(*entries)))
    assert isinstance(frame, Frame)
    return list(batches_of(frame))


def append(journal: Journal, *entries: Entry) -> None:
    """Lay entries of one model into a journal."""
    journal.append(packed(*entries), sum(len(entry.scores) for entry in entries))


def write_entry(root: Path, name: str, entry: Entry) -> None:
    """The file of an entry, as a server writes it under the name of a journal."""
    for place, batch in batches(entry):
        write_file(root, name, place, [batch])
