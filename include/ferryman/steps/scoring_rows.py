"""The rows of a batch: of a window's snapshots, of a dataset version, or of a Parquet file.

They come as pyarrow RecordBatches, a few thousand rows at a time, so that memory stays flat; a
dataset version alone is joined in memory, as a training joins it.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import JsonValue

from ferryman.data.versions.dataset import DatasetStore
from ferryman.data.versions.snapshots import Snapshot, SnapshotStore
from ferryman.errors import DataRejected, DependencyUnavailable, SpecError
from ferryman.runtime.data_store import open_object_store
from ferryman.runtime.local_object_store import LocalObjectStore
from ferryman.runtime.object_store import ObjectStore, check_name
from ferryman.serving.models.rows import ENTITY_KEY, EVENT_TIME
from ferryman.steps.contract import StepContext
from ferryman.steps.training_data import resolve_dataset

KEYS = (ENTITY_KEY, EVENT_TIME)
_CHUNK = 1 << 20


@dataclass(frozen=True)
class _Window:
    """The published snapshot of each day of a window."""

    store: SnapshotStore
    snapshots: Sequence[Snapshot]

    @property
    def told(self) -> list[JsonValue]:
        return [{"window": str(one.window), "snapshot": one.id} for one in self.snapshots]

    def batches(self, columns: Sequence[str], rows: int) -> Iterator[pa.RecordBatch]:
        for one in self.snapshots:
            _refuse_missing(one.entry.table_schema, columns, f"snapshot {one.id[:12]}")
            yield from self.store.feature_batches(one, [*KEYS, *columns], rows=rows)


@dataclass(frozen=True)
class _Dataset:
    """The labelled rows of a dataset version."""

    store: DatasetStore
    model: str
    id: str

    @property
    def told(self) -> list[JsonValue]:
        version = self.store.get(self.id, self.model)
        return [{"dataset": self.id, "snapshots": [*version.snapshot_ids]}]

    def batches(self, columns: Sequence[str], rows: int) -> Iterator[pa.RecordBatch]:
        frame = self.store.load(self.id, self.model)
        _refuse_missing(frame.columns, columns, f"dataset {self.id[:12]}")
        table = pa.Table.from_pandas(frame[[*KEYS, *columns]], preserve_index=False)
        yield from table.to_batches(max_chunksize=rows)


@dataclass(frozen=True)
class _File:
    """A Parquet file of a declared place; its bytes are named by their sha256."""

    place: ObjectStore
    key: str
    sha256: str

    @property
    def told(self) -> list[JsonValue]:
        return [{"file": self.place.uri(self.key), "sha256": self.sha256}]

    def batches(self, columns: Sequence[str], rows: int) -> Iterator[pa.RecordBatch]:
        with _opened(self.place, self.key) as stream:
            if _digest(stream) != self.sha256:
                raise DataRejected(
                    f"{self.key} was changed while it was scored", remedy="Score it again."
                )
            stream.seek(0)
            try:
                with pq.ParquetFile(stream) as file:
                    names = file.schema_arrow.names
                    _refuse_missing(names, columns, self.key)
                    kept = [*(name for name in KEYS if name in names), *columns]
                    yield from file.iter_batches(rows, columns=kept, use_threads=False)
            except pa.ArrowInvalid as error:
                raise _no_parquet(self.key, error) from error


BatchRows = _Window | _Dataset | _File


def rows_of(context: StepContext, dataset: str | None, file: str | None) -> BatchRows:
    """The rows that are asked for: the window's, unless a dataset version or a file is named.

    Raises SpecError (exit 2) for both, or for a name that is none; DependencyUnavailable (exit 6)
    where a day of the window has no published snapshot, or a place is away.
    """
    if dataset is not None and file is not None:
        raise SpecError("dataset and file cannot both be given", remedy="Give one of them.")
    if dataset is not None:
        store = DatasetStore(context.data_store)
        return _Dataset(store, context.model.name, resolve_dataset(context, dataset))
    if file is not None:
        return _file(context, file)
    snapshots = SnapshotStore(context.data_store)
    return _Window(
        snapshots, [_published(context, snapshots, day) for day in context.window.days()]
    )


def _published(context: StepContext, store: SnapshotStore, day: Any) -> Snapshot:
    found = store.current(context.model.name, day)
    if found is None:
        raise DependencyUnavailable(
            f"{context.model.name} has no published snapshot of {day}",
            remedy=f"Run ingest for {day.start:%Y-%m-%d} first.",
        )
    return found


def _file(context: StepContext, name: str) -> _File:
    """PATH below the folder of the file sources, or CONNECTION:KEY."""
    connection, colon, key = name.partition(":")
    place: ObjectStore = LocalObjectStore(context.settings.source_root)
    if colon:
        place = open_object_store(context.connections.get(connection))
    key = check_name(key if colon else name)
    with _opened(place, key) as stream:
        return _File(place, key, _digest(stream))


def _opened(place: ObjectStore, key: str) -> BinaryIO:
    stream = place.open(key)
    if stream is None:
        raise SpecError(
            f"there is no file {place.uri(key)}",
            remedy="Write file=PATH below the folder of the sources, or file=CONNECTION:KEY.",
        )
    return stream


def _digest(stream: BinaryIO) -> str:
    total = hashlib.sha256()
    while piece := stream.read(_CHUNK):
        total.update(piece)
    return total.hexdigest()


def _no_parquet(key: str, error: Exception) -> DataRejected:
    return DataRejected(f"{key} is no Parquet file that can be read: {str(error)[:200]}")


def _refuse_missing(there: Any, wanted: Sequence[str], where: str) -> None:
    lacking = [name for name in wanted if name not in there]
    if lacking:
        raise DataRejected(
            f"{where} has no column {', '.join(lacking[:10])}, which the version takes",
            remedy="Ingest the window again, or score with a version that does without.",
        )
