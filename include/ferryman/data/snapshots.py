"""Snapshots: what became known in one window, written once under the hash of its content.

<root>/<model>/snapshots/<id>/{features.parquet, labels.parquet, entry.json}
<root>/<model>/windows/<window>/current.json      which snapshot the window's readers get
"""

import fcntl
import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, JsonValue, ValidationError

from ferryman.data.content_id import content_id
from ferryman.errors import IntegrityBroken, SpecError
from ferryman.runtime.files import created_once, file_digest, read_json, write_json
from ferryman.spec.windows import DAY, Window

FEATURES, LABELS, ENTRY, CURRENT = (
    "features.parquet",
    "labels.parquet",
    "entry.json",
    "current.json",
)
_ROW_GROUP = 128_000  # rows; the memory of a reader

logger = logging.getLogger(__name__)


class Record(BaseModel):
    """Frozen, closed to unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class SourceUse(Record):
    """What one source gave: what was asked, what was read, and what cleaning did to it."""

    described: str = Field(default="", description="Kind, connection and path, table or query.")
    query: str = Field(default="", description="What was asked, without secrets.")
    parts: list[dict[str, JsonValue]] = Field(
        default_factory=list, description="What was read: name, sha256, size in bytes, rows."
    )
    dropped: int = 0
    changed: int = 0
    counts: dict[str, int] = Field(default_factory=dict, description="Rows by reason of cleaning.")


class SnapshotEntry(Record):
    """Why and from what a snapshot was made; the store adds what the tables themselves say."""

    reason: str
    actor: str
    sources: dict[str, SourceUse] = Field(default_factory=dict)
    queries: dict[str, str] = Field(
        default_factory=dict, description="The sha256 of each query's file, by file name."
    )
    read_window: Window | None = Field(
        default=None, description="The span that was read, where another year is replayed."
    )
    profile: dict[str, JsonValue] = Field(default_factory=dict)
    spec_digest: str = ""
    code_version: str = ""
    parents: list[str] = Field(
        default_factory=list, description="The window's current snapshot when this one was made."
    )


class CatalogueEntry(SnapshotEntry):
    """A snapshot's catalogue entry, as it is stored."""

    format: Literal[1] = 1
    id: str
    model: str
    window: Window
    rows: int
    labels: int
    cutoff: AwareDatetime | None = Field(description="The newest event time, UTC.")
    table_schema: dict[str, str]
    files: dict[str, str] = Field(description="The sha256 of each stored file.")
    created_at: AwareDatetime


class Publication(Record):
    """One move of a window's pointer: to which snapshot, from which, why and when."""

    id: str
    parent: str | None
    reason: str
    at: AwareDatetime


class Pointer(Record):
    """A window's current snapshot (the last publication) and those before it."""

    window: Window
    history: list[Publication] = Field(min_length=1)


@dataclass(frozen=True)
class Snapshot:
    """A stored snapshot; `new` says that this very call wrote it."""

    model: str
    id: str
    window: Window
    folder: Path
    entry: CatalogueEntry
    new: bool = False


def check_id(name: str) -> None:
    """Raise SpecError (exit 2) where a name cannot be an id: it becomes part of a path."""
    if not re.fullmatch(r"[0-9a-f]{64}", name):
        raise SpecError(
            f"{name[:80]!r} is not an id", remedy="An id is 64 hexadecimal digits, in lower case."
        )


class SnapshotStore:
    """The snapshots of all models below one root."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def write(
        self, model: str, window: Window, features: Any, labels: Any, entry: SnapshotEntry
    ) -> Snapshot:
        """Store two pyarrow Tables; equal content is the same snapshot and is not written again.

        Nobody reads it before it is published. Raises DependencyUnavailable (exit 6) when the disk
        is full, IntegrityBroken (exit 7) where the same id is there with damaged files.
        """
        name = content_id(window, {"features": features, "labels": labels})
        folder = self._folder(model) / "snapshots" / name
        if folder.is_dir():
            known = self.get(model, name)
            self._verified(known, FEATURES)
            self._verified(known, LABELS)
            return known
        with created_once(folder) as scratch:
            for file, table in ((FEATURES, features), (LABELS, labels)):
                _write_table(scratch / file, table)
            stored = CatalogueEntry(
                **entry.model_dump(),
                id=name,
                model=model,
                window=window,
                rows=features.num_rows,
                labels=labels.num_rows,
                cutoff=_newest(features),
                table_schema={field.name: str(field.type) for field in features.schema},
                files={file: file_digest(scratch / file) for file in (FEATURES, LABELS)},
                created_at=datetime.now(UTC),
            )
            write_json(scratch / ENTRY, stored.model_dump(mode="json"))
        kept = self.get(model, name)
        return Snapshot(model, name, window, folder, kept.entry, new=True)

    def get(self, model: str, snapshot_id: str) -> Snapshot:
        """A snapshot by its id; IntegrityBroken (exit 7) where it is not there or unreadable."""
        check_id(snapshot_id)
        folder = self._folder(model) / "snapshots" / snapshot_id
        try:
            entry = CatalogueEntry.model_validate(read_json(folder / ENTRY))
        except (OSError, ValueError, ValidationError) as error:
            raise IntegrityBroken(
                f"snapshot {snapshot_id[:80]!r} of {model!r}: no readable {ENTRY}: {error}",
                remedy="Move its folder away and ingest the window again.",
            ) from error
        if entry.id != snapshot_id:
            raise IntegrityBroken(f"{folder / ENTRY}: names snapshot {entry.id}")
        return Snapshot(model, snapshot_id, entry.window, folder, entry)

    def publish(self, model: str, window: Window, snapshot_id: str, reason: str) -> Publication:
        """Make a snapshot the one that readers of the window get; again is no change."""
        snapshot = self.get(model, snapshot_id)
        if snapshot.window != window:
            raise SpecError(f"snapshot {snapshot_id} is of {snapshot.window}, not of {window}")
        folder = self._window_folder(model, window)
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder):
            history = _history(folder)
            if history and history[-1].id == snapshot_id:
                return history[-1]
            parent = history[-1].id if history else None
            now = Publication(id=snapshot_id, parent=parent, reason=reason, at=datetime.now(UTC))
            pointer = Pointer(window=window, history=[*history, now])
            write_json(folder / CURRENT, pointer.model_dump(mode="json"))
        logger.info("%s: window %s is now snapshot %s", model, window, snapshot_id[:12])
        return now

    def current(self, model: str, window: Window) -> Snapshot | None:
        """The published snapshot of a window, or None."""
        history = _history(self._window_folder(model, window))
        return self.get(model, history[-1].id) if history else None

    def published(self, model: str, touching: Window | None = None) -> list[Snapshot]:
        """The published snapshot of every window (that touches the given one), oldest first."""
        folder = self._folder(model) / "windows"
        pointers = [_pointer(entry) for entry in folder.iterdir()] if folder.is_dir() else []
        wanted = [
            pointer
            for pointer in pointers
            if pointer is not None and (touching is None or _overlap(pointer.window, touching))
        ]
        wanted.sort(key=lambda pointer: pointer.window.start)
        return [self.get(model, pointer.history[-1].id) for pointer in wanted]

    def history(self, model: str, window: Window) -> list[Publication]:
        """Every publication of a window, oldest first."""
        return _history(self._window_folder(model, window))

    def read_features(self, snapshot: Snapshot, columns: list[str] | None = None) -> Any:
        """The features table; IntegrityBroken (exit 7) where its bytes are not those written."""
        return _read_table(self._verified(snapshot, FEATURES), columns)

    def read_labels(self, snapshot: Snapshot) -> Any:
        """The labels table; IntegrityBroken (exit 7) where its bytes are not those written."""
        return _read_table(self._verified(snapshot, LABELS), None)

    def snapshot_ids(self, model: str) -> list[str]:
        """The ids of all snapshots, published or not."""
        folder = self._folder(model) / "snapshots"
        entries = folder.iterdir() if folder.is_dir() else []
        return sorted(entry.name for entry in entries if not entry.name.startswith("."))

    def _folder(self, model: str) -> Path:
        return self._root / model

    def _window_folder(self, model: str, window: Window) -> Path:
        end = "" if window.end - window.start == DAY else f"-{window.end:%Y%m%dT%H%MZ}"
        return self._folder(model) / "windows" / f"{window.key}{end}"

    def _verified(self, snapshot: Snapshot, file: str) -> Path:
        path = snapshot.folder / file
        expected = snapshot.entry.files.get(file)
        got = file_digest(path) if path.is_file() else "no file"
        if got != expected:
            raise IntegrityBroken(
                f"digest mismatch: {path}: expected {expected}, got {got}",
                remedy="Move the snapshot's folder away and ingest the window again.",
            )
        return path


def _pointer(folder: Path) -> Pointer | None:
    """The pointer of a window's folder; None where nothing was published yet."""
    file = folder / CURRENT
    try:
        return Pointer.model_validate(read_json(file))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise IntegrityBroken(f"{file}: not a window's pointer: {error}") from error


def _history(folder: Path) -> list[Publication]:
    pointer = _pointer(folder)
    return [] if pointer is None else pointer.history


def _overlap(one: Window, other: Window) -> bool:
    return one.start < other.end and other.start < one.end


def _write_table(file: Path, table: Any) -> None:
    pq.write_table(table, file, row_group_size=_ROW_GROUP, compression="zstd")


def _read_table(file: Path, columns: list[str] | None) -> Any:
    with pq.ParquetFile(file) as stored:
        return stored.read(columns=columns, use_threads=False)


def _newest(features: Any) -> datetime | None:
    newest: datetime | None = pc.max(features.column("event_time")).as_py()
    return newest


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One writer at a time moves a pointer; the lock dies with its process and leaves no file."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
