"""Dataset versions: which window snapshots make up the rows that a model is trained or judged on.

A manifest <model>/datasets/<id>.json, named by the hash of its content. A version built at a
cut-off opens only snapshots of windows that end by then, so it cannot hold a later row.
"""

import hashlib
from collections.abc import Iterable
from datetime import datetime
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from ferryman.data.snapshots import Snapshot, SnapshotStore, check_id
from ferryman.errors import DataRejected, IntegrityBroken
from ferryman.runtime.files import json_bytes
from ferryman.runtime.messages import canonical_json
from ferryman.runtime.object_store import ObjectStore
from ferryman.spec.model import ModelSpec
from ferryman.spec.windows import Window, format_time

Role = Literal["train", "eval"]
_KEYS = ["entity_key", "event_time"]


class DatasetVersion(BaseModel):
    """A content-addressed manifest; `id` is the sha256 of the rest of it.

    `event_window` bounds the events; their features come from `snapshot_ids`, their labels from
    `label_snapshot_ids`; `rows` counts the labelled events.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    id: str = ""
    model: str
    role: Role
    cutoff: AwareDatetime
    event_window: Window
    label: str
    columns: list[tuple[str, str]] = Field(description="The features' names and types, in order.")
    snapshot_ids: list[str]
    label_snapshot_ids: list[str]
    rows: int

    def content_digest(self) -> str:
        """The sha256 of the canonical JSON of everything but the id."""
        content = self.model_dump(mode="json", exclude={"id"})
        return hashlib.sha256(canonical_json(content)).hexdigest()


def event_windows(spec: ModelSpec, cutoff: datetime) -> tuple[Window, Window]:
    """The events to train on and, right after them, those to evaluate on, at a cut-off."""
    known = cutoff - spec.data.label.known_after
    held = known - spec.train.holdout
    return Window(start=held - spec.train.window, end=held), Window(start=held, end=known)


class DatasetStore:
    """The dataset versions of all models in one place."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects
        self._snapshots = SnapshotStore(objects)

    def split(self, spec: ModelSpec, cutoff: datetime) -> tuple[DatasetVersion, DatasetVersion]:
        """The training and the evaluation version at a cut-off; never a shared or later event."""
        return self.build(spec, cutoff, "train"), self.build(spec, cutoff, "eval")

    def build(self, spec: ModelSpec, cutoff: datetime, role: Role) -> DatasetVersion:
        """Write, or find, the version of a role at a cut-off.

        Raises DataRejected (exit 3) where no published window gives a labelled row.
        """
        events = event_windows(spec, cutoff)[0 if role == "train" else 1]
        due = events.shifted(spec.data.label.known_after)
        features = self._seen(spec.name, events, cutoff)
        labels = self._seen(spec.name, due, cutoff)
        joined = self._join(features, labels, events, list(_KEYS))
        if joined.num_rows == 0:
            raise DataRejected(
                f"no labelled event of {spec.name!r} in {events} at cut-off "
                f"{format_time(cutoff)} ({role}): {len(features)} windows have features, "
                f"{len(labels)} have labels",
                remedy="Ingest these days, and the days on which their labels became known.",
            )
        version = DatasetVersion(
            model=spec.name,
            role=role,
            cutoff=cutoff,
            event_window=events,
            label=spec.data.label.name,
            columns=[(name, column.type) for name, column in spec.features.columns.items()],
            snapshot_ids=[snapshot.id for snapshot in features],
            label_snapshot_ids=[snapshot.id for snapshot in labels],
            rows=joined.num_rows,
        )
        version = version.model_copy(update={"id": version.content_digest()})
        content = json_bytes(version.model_dump(mode="json"))
        self._objects.create(_key(version.id, spec.name), content)
        return version

    def get(self, dataset_id: str, model: str) -> DatasetVersion:
        """A version by its id; IntegrityBroken (exit 7) where it is not there or was altered."""
        check_id(dataset_id)
        key = _key(dataset_id, model)
        try:
            version = DatasetVersion.model_validate_json(self._objects.read(key) or b"")
        except ValidationError as error:
            raise IntegrityBroken(
                f"dataset {dataset_id} of {model!r} is not readable: {str(error)[:300]}"
            ) from error
        got = version.content_digest()
        if not version.id == got == dataset_id:
            raise IntegrityBroken(
                f"digest mismatch: {self._objects.uri(key)}: expected {dataset_id}, got {got}"
            )
        return version

    def load(self, dataset_id: str, model: str) -> Any:
        """The labelled rows of a version as a pandas DataFrame, ordered by event time and key.

        Columns: entity_key, event_time, the features (numbers float64 with NaN for null, categories
        str with "" for null), label (bool). Raises IntegrityBroken (exit 7) where a snapshot is not
        what it was.
        """
        version = self.get(dataset_id, model)
        features = [self._snapshots.get(model, name) for name in version.snapshot_ids]
        labels = [self._snapshots.get(model, name) for name in version.label_snapshot_ids]
        columns = [*_KEYS, *(name for name, _ in version.columns)]
        joined = self._join(features, labels, version.event_window, columns)
        if joined.num_rows != version.rows:
            raise IntegrityBroken(
                f"dataset {dataset_id}: {joined.num_rows} rows, {version.rows} were recorded"
            )
        return _to_frame(joined, version)

    def _seen(self, model: str, span: Window, cutoff: datetime) -> list[Snapshot]:
        """The published snapshots that touch a span and were complete at the cut-off."""
        touching = self._snapshots.published(model, touching=span)
        return [snapshot for snapshot in touching if snapshot.window.end <= cutoff]

    def _join(
        self,
        features: Iterable[Snapshot],
        labels: Iterable[Snapshot],
        events: Window,
        columns: list[str],
    ) -> Any:
        """Events of the window with a label that is not null, with the given columns and label."""
        store = self._snapshots
        left = [store.read_features(snapshot, columns) for snapshot in features]
        right = [store.read_labels(snapshot).select(["entity_key", "label"]) for snapshot in labels]
        if not left or not right:
            return pa.table({name: pa.array([], pa.string()) for name in [*columns, "label"]})
        rows = pa.concat_tables(left)
        known = pa.concat_tables(right)
        known = known.filter(pc.is_valid(known.column("label"))).combine_chunks()
        times = rows.column("event_time")
        rows = rows.filter(
            pc.and_(
                pc.greater_equal(times, pa.scalar(events.start, times.type)),
                pc.less(times, pa.scalar(events.end, times.type)),
            )
        )
        places = pc.index_in(rows.column("entity_key"), value_set=known.column("entity_key"))
        rows = rows.append_column("label", known.column("label").take(places))
        rows = rows.filter(pc.is_valid(rows.column("label")))
        return rows.sort_by([("event_time", "ascending"), ("entity_key", "ascending")])


def _key(dataset_id: str, model: str) -> str:
    return f"{model}/datasets/{dataset_id}.json"


def _to_frame(table: Any, version: DatasetVersion) -> Any:
    import pandas as pd

    columns: dict[str, Any] = {
        "entity_key": table.column("entity_key").to_pandas(),
        "event_time": table.column("event_time").to_pandas(),
    }
    for name, kind in version.columns:
        column = table.column(name)
        if kind == "category":
            columns[name] = pc.fill_null(column, "").to_pandas()
        else:
            columns[name] = column.cast(pa.float64(), safe=False).to_pandas()
    columns["label"] = table.column("label").to_pandas().astype(bool)
    return pd.DataFrame(columns)
