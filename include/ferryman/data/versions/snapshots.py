"""Snapshots: what became known in one window, written once under the hash of its content.

<model>/snapshots/<id>/{features,labels}-<beginning of the sha256 of its bytes>.parquet
<model>/snapshots/<id>/entry.json          created last: from then on the snapshot is there
<model>/quarantine/<window>/<beginning of the sha256>.parquet
<model>/windows/<window>/<n>.json          which snapshot its readers get (see publications)
"""

import hashlib
import logging
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import ValidationError

from ferryman.data.rows.cleaning import QUARANTINE
from ferryman.data.versions.catalogue_entry import (
    CatalogueEntry,
    SnapshotEntry,
    SourceUse,
    StoredFile,
)
from ferryman.data.versions.change_reason import explain_change
from ferryman.data.versions.content_id import content_id
from ferryman.data.versions.diff import compare_entries
from ferryman.data.versions.marks import Marks
from ferryman.data.versions.publications import Publication, Publications, days_touching, window_key
from ferryman.errors import IntegrityBroken, SpecError
from ferryman.runtime.files import SCRATCH, file_digest, json_bytes, space_errors
from ferryman.runtime.object_store import ObjectStore
from ferryman.spec.windows import Window

__all__ = ["CatalogueEntry", "Snapshot", "SnapshotEntry", "SnapshotStore", "SourceUse", "check_id"]

FEATURES, LABELS, ENTRY = "features", "labels", "entry.json"
_ROW_GROUP = 128_000  # rows; the memory of a reader
_CHUNK = 1 << 20

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Snapshot:
    """A stored snapshot; `new` says that this very call wrote it."""

    model: str
    id: str
    window: Window
    entry: CatalogueEntry
    new: bool = False


def check_id(name: str) -> None:
    """Raise SpecError (exit 2) where a name cannot be an id: it becomes part of a path."""
    if not re.fullmatch(r"[0-9a-f]{64}", name):
        raise SpecError(
            f"{name[:80]!r} is not an id", remedy="An id is 64 hexadecimal digits, in lower case."
        )


class SnapshotStore:
    """The snapshots of all models in one place."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects
        self._publications = Publications(objects)
        self._marks = Marks(objects)

    def write(  # noqa: PLR0913  - two tables, what they are of, and what is kept beside them
        self,
        model: str,
        window: Window,
        features: Any,
        labels: Any,
        entry: SnapshotEntry,
        *,
        quarantine: Any = None,
    ) -> Snapshot:
        """Store two pyarrow Tables; equal content is the same snapshot and is not written again.

        `quarantine` (a Table of data.rows.cleaning.QUARANTINE) is kept beside it where it has rows.
        Nobody reads a snapshot before it is published. Raises DependencyUnavailable (exit 6) when
        the disk is full, IntegrityBroken (exit 7) where the same id is there with damaged files,
        LostRace (exit 8) where maintenance is just removing it.
        """
        window_key(window)
        name = content_id(window, {FEATURES: features, LABELS: labels})
        kept = self.keep_quarantine(model, window, quarantine)
        self._marks.use(model, name)
        known = self._entry(model, name)
        if known is not None:
            for stored in known.files.values():
                self.verify(stored)
            return Snapshot(model, name, window, known)
        place = _place(model, name)
        files = {
            table_name: self._keep_table(f"{place}/{table_name}-", table)
            for table_name, table in ((FEATURES, features), (LABELS, labels))
        }
        stored_entry = CatalogueEntry(
            **entry.model_dump(),
            id=name,
            model=model,
            window=window,
            rows=features.num_rows,
            labels=labels.num_rows,
            cutoff=_newest(features),
            table_schema={field.name: str(field.type) for field in features.schema},
            files=files,
            quarantine=kept,
            created_at=datetime.now(UTC),
        )
        stored_entry = self._with_change(stored_entry)
        content = json_bytes(stored_entry.model_dump(mode="json"))
        new = self._objects.create(f"{place}/{ENTRY}", content)
        # Another writer may have been quicker: its entry stands, and names files of its own.
        return Snapshot(model, name, window, self.get(model, name).entry, new=new)

    def keep_quarantine(self, model: str, window: Window, rows: Any) -> StoredFile | None:
        """Keep the rows that cleaning touched; None where there are none."""
        if rows is None or rows.num_rows == 0:
            return None
        return self._keep_table(f"{model}/quarantine/{window_key(window)}/", rows)

    def get(self, model: str, snapshot_id: str) -> Snapshot:
        """A snapshot by its id; IntegrityBroken (exit 7) where it is not there or unreadable."""
        check_id(snapshot_id)
        entry = self._entry(model, snapshot_id)
        if entry is None:
            raise IntegrityBroken(
                f"snapshot {snapshot_id} of {model!r}: no readable {ENTRY}: "
                f"{self._objects.uri(f'{_place(model, snapshot_id)}/{ENTRY}')} is not there",
                remedy="Ingest the window again.",
            )
        return Snapshot(model, snapshot_id, entry.window, entry)

    def publish(
        self, model: str, window: Window, snapshot_id: str, reason: str, actor: str = ""
    ) -> Publication:
        """Make a snapshot the one that readers of the window get; again is no change."""
        snapshot = self.get(model, snapshot_id)
        if snapshot.window != window:
            raise SpecError(f"snapshot {snapshot_id} is of {snapshot.window}, not of {window}")

        self._marks.use(model, snapshot_id)

        def move(last: Publication | None) -> Publication | None:
            if last is not None and last.id == snapshot_id:
                return None
            return Publication(
                id=snapshot_id,
                parent=last.id if last else None,
                reason=reason,
                change=self._change(model, last.id if last else None, snapshot.entry),
                actor=actor,
                at=datetime.now(UTC),
            )

        now = self._publications.append(model, window, move)
        if now is None:
            raise IntegrityBroken(f"window {window} of {model!r} has no publication")
        logger.info("%s: window %s is now snapshot %s", model, window, snapshot_id[:12])
        return now

    def current(self, model: str, window: Window) -> Snapshot | None:
        """The published snapshot of a window, or None."""
        last = self._publications.current(model, window)
        return self.get(model, last.id) if last is not None and last.id is not None else None

    def published(self, model: str, touching: Window | None = None) -> list[Snapshot]:
        """The published snapshot of every window (that touches the given one), oldest first.

        The days of a span are asked for one by one; without a span the windows are listed.
        """
        windows = days_touching(touching) if touching else self._publications.windows(model)
        found = [self.current(model, window) for window in windows]
        return [snapshot for snapshot in found if snapshot is not None]

    def newest(self, model: str) -> Snapshot | None:
        """The published snapshot of the newest window, or None; by a listing of the windows."""
        windows = reversed(self._publications.windows(model))
        found = (self.current(model, window) for window in windows)
        return next((snapshot for snapshot in found if snapshot is not None), None)

    def history(self, model: str, window: Window) -> list[Publication]:
        """Every publication of a window, oldest first."""
        return self._publications.history(model, window)

    def read_features(self, snapshot: Snapshot, columns: list[str] | None = None) -> Any:
        """The features table; IntegrityBroken (exit 7) where its bytes are not those written."""
        return self._read_table(snapshot.entry.files[FEATURES], columns)

    def feature_batches(
        self, snapshot: Snapshot, columns: list[str] | None = None, *, rows: int
    ) -> Iterator[Any]:
        """The features as RecordBatches of at most `rows` rows; all bytes are verified first.

        IntegrityBroken (exit 7) where they are not those written.
        """
        with (
            self._verified(snapshot.entry.files[FEATURES]) as stream,
            pq.ParquetFile(stream) as file,
        ):
            yield from file.iter_batches(batch_size=rows, columns=columns, use_threads=False)

    def read_labels(self, snapshot: Snapshot) -> Any:
        """The labels table; IntegrityBroken (exit 7) where its bytes are not those written."""
        return self._read_table(snapshot.entry.files[LABELS], None)

    def read_quarantine(self, entry: CatalogueEntry) -> Any:
        """The rows that cleaning touched, as a Table of data.rows.cleaning.QUARANTINE."""
        if entry.quarantine is None:
            return QUARANTINE.empty_table()
        if self._objects.size(entry.quarantine.key) is None:
            raise SpecError(
                f"the rows that cleaning touched in snapshot {entry.id[:16]} were removed",
                remedy="data.retention.quarantine says how long they are kept; ingest them again.",
            )
        return self._read_table(entry.quarantine, None)

    def snapshot_ids(self, model: str) -> list[str]:
        """The ids of all snapshots, published or not; by a listing."""
        keys = [key.split("/") for key in self._objects.keys(f"{model}/snapshots")]
        return sorted({parts[2] for parts in keys if parts[3:] == [ENTRY]})

    def verify(self, stored: StoredFile) -> None:
        """Read a stored file through; IntegrityBroken (exit 7) names it, expected and got."""
        with self._verified(stored):
            pass

    def _entry(self, model: str, snapshot_id: str) -> CatalogueEntry | None:
        key = f"{_place(model, snapshot_id)}/{ENTRY}"
        content = self._objects.read(key)
        if content is None:
            return None
        uri = self._objects.uri(key)
        try:
            entry = CatalogueEntry.model_validate_json(content)
        except ValidationError as error:
            raise IntegrityBroken(
                f"snapshot {snapshot_id} of {model!r}: no readable {ENTRY}: {uri}: "
                f"{str(error)[:300]}",
                remedy="Move its folder away and ingest the window again.",
            ) from error
        if (entry.id, entry.model) != (snapshot_id, model):
            raise IntegrityBroken(f"{uri}: names snapshot {entry.id} of {entry.model!r}")
        return entry

    def _with_change(self, entry: CatalogueEntry) -> CatalogueEntry:
        parent = entry.parents[-1] if entry.parents else None
        before = self._entry(entry.model, parent) if parent else None
        if before is None:
            return entry
        return entry.model_copy(
            update={
                "change": explain_change(before, entry),
                "change_from_parent": compare_entries(before, entry),
            }
        )

    def _change(self, model: str, parent: str | None, entry: CatalogueEntry) -> str:
        """What differs from the parent; nothing where there is none, or it was removed."""
        before = self._entry(model, parent) if parent else None
        return explain_change(before, entry) if before else ""

    def _keep_table(self, beginning: str, table: Any) -> StoredFile:
        """Write a table beside, then keep it under a name made from its bytes."""
        with tempfile.TemporaryDirectory(prefix=SCRATCH) as folder:
            file = Path(folder) / "table.parquet"
            with space_errors(file, need=table.nbytes):
                pq.write_table(table, file, row_group_size=_ROW_GROUP, compression="zstd")
            digest = file_digest(file)
            key = f"{beginning}{digest[:16]}.parquet"
            stored = StoredFile(key=key, sha256=digest, size=file.stat().st_size)
            if not self._objects.create(key, file):
                self.verify(stored)
        return stored

    def _read_table(self, stored: StoredFile, columns: list[str] | None) -> Any:
        with self._verified(stored) as stream, pq.ParquetFile(stream) as file:
            return file.read(columns=columns, use_threads=False)

    @contextmanager
    def _verified(self, stored: StoredFile) -> Iterator[BinaryIO]:
        """The open file, once its bytes are known to be those that were written."""
        stream = self._objects.open(stored.key)
        if stream is None:
            raise self._mismatch(stored, "no file")
        with stream:
            total = hashlib.sha256()
            while piece := stream.read(_CHUNK):
                total.update(piece)
            if total.hexdigest() != stored.sha256:
                raise self._mismatch(stored, total.hexdigest())
            stream.seek(0)
            yield stream

    def _mismatch(self, stored: StoredFile, got: str) -> IntegrityBroken:
        return IntegrityBroken(
            f"digest mismatch: {self._objects.uri(stored.key)}: expected {stored.sha256}, "
            f"got {got}",
            remedy="Move the snapshot's folder away and ingest the window again.",
        )


def _place(model: str, snapshot_id: str) -> str:
    return f"{model}/snapshots/{snapshot_id}"


def _newest(features: Any) -> datetime | None:
    newest: datetime | None = pc.max(features.column("event_time")).as_py()
    return newest
