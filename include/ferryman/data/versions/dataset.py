"""Dataset versions: which window snapshots make up the rows that a model is trained or judged on.

A manifest <model>/datasets/<id>.json, named by the hash of its content. A version built at a
cut-off opens only snapshots of windows that end by then, so it cannot hold a later row.
"""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import ValidationError

from ferryman.data.versions.dataset_catalogue import (
    DatasetCatalogue,
    Split,
    describe,
    label_figures,
    merged_profile,
)
from ferryman.data.versions.dataset_version import DatasetVersion, Role, manifest_key
from ferryman.data.versions.marks import Marks
from ferryman.data.versions.snapshots import Snapshot, SnapshotStore, check_id
from ferryman.data.versions.splits import (
    LeftOut,
    event_windows,
    group_keys,
    refuse_nothing_left,
    refuse_nulls,
    shared_rows,
    without_groups,
)
from ferryman.errors import DataRejected, IntegrityBroken
from ferryman.runtime.files import json_bytes
from ferryman.runtime.object_store import ObjectStore
from ferryman.runtime.score_column import label_type
from ferryman.spec.model import ModelSpec
from ferryman.spec.windows import Window, format_time

__all__ = ["DatasetStore", "DatasetVersion", "event_windows"]

_KEYS = ["entity_key", "event_time"]
_LABEL_TYPES = {pa.bool_(): "bool", pa.float64(): "float64"}

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Found:
    """What one side of a split is made of; `rows` is a Table of keys, group columns and label."""

    role: Role
    events: Window
    features: list[Snapshot]
    labels: list[Snapshot]
    rows: Any


class DatasetStore:
    """The dataset versions of all models in one place; `reason` and `actor` go into entries."""

    def __init__(self, objects: ObjectStore, *, reason: str = "", actor: str = "") -> None:
        self._objects = objects
        self._snapshots = SnapshotStore(objects)
        self._catalogue = DatasetCatalogue(objects)
        self._marks = Marks(objects)
        self._made = {"reason": reason, "actor": actor}

    def split(self, spec: ModelSpec, cutoff: datetime) -> tuple[DatasetVersion, DatasetVersion]:
        """The training and the evaluation version at a cut-off: written, or found.

        They never share an event, a later event, nor a declared group. Raises DataRejected (exit 3)
        where no published window gives a labelled row, or no training row is left.
        """
        past, newest = self._find(spec, cutoff, "train"), self._find(spec, cutoff, "eval")
        evaluation = self._keep(spec, cutoff, newest, newest.rows, "")
        rows, left, group = past.rows, LeftOut(0, 0), spec.train.group
        if group:
            rows, left = without_groups(rows, group, group_keys(newest.rows, group))
            refuse_nothing_left(rows.num_rows, left, group, past.events)
        train = self._keep(spec, cutoff, past, rows, evaluation.id)
        if not self._catalogue.recorded(spec.name, train.id):
            self._record(train, past, rows, self._compare(spec, train, evaluation, left))
        return train, evaluation

    def build(self, spec: ModelSpec, cutoff: datetime, role: Role) -> DatasetVersion:
        """The version of one role at a cut-off; see `split`."""
        if role == "train":
            return self.split(spec, cutoff)[0]
        found = self._find(spec, cutoff, role)
        return self._keep(spec, cutoff, found, found.rows, "")

    def _find(self, spec: ModelSpec, cutoff: datetime, role: Role) -> _Found:
        """The snapshots of a side, and its labelled rows before any group is left out."""
        events = event_windows(spec, cutoff)[0 if role == "train" else 1]
        due = events.shifted(spec.data.label.known_after)
        features = self._seen(spec.name, events, cutoff)
        labels = self._seen(spec.name, due, cutoff)
        rows = self._join(features, labels, events, [*_KEYS, *spec.train.group])
        if rows.num_rows and rows.column("label").type != label_type(spec.train.task):
            raise DataRejected(
                f"the labels of {spec.name!r} in {events} are of type {rows.column('label').type}: "
                f"ingested before the task was declared {spec.train.task}",
                remedy="Ingest these windows again.",
            )
        if rows.num_rows == 0:
            raise DataRejected(
                f"no labelled event of {spec.name!r} in {events} at cut-off "
                f"{format_time(cutoff)} ({role}): {len(features)} windows have features, "
                f"{len(labels)} have labels",
                remedy="Ingest these days, and the days on which their labels became known.",
            )
        return _Found(role, events, features, labels, rows)

    def _keep(
        self, spec: ModelSpec, cutoff: datetime, found: _Found, rows: Any, without: str
    ) -> DatasetVersion:
        """Write the manifest of a side; of an evaluation side its entry too."""
        group = spec.train.group if found.role == "train" else []
        version = DatasetVersion(
            model=spec.name,
            role=found.role,
            cutoff=cutoff,
            event_window=found.events,
            label=spec.data.label.name,
            columns=[(name, column.type) for name, column in spec.features.columns.items()],
            snapshot_ids=[snapshot.id for snapshot in found.features],
            label_snapshot_ids=[snapshot.id for snapshot in found.labels],
            rows=rows.num_rows,
            group=group,
            without_groups_of=without if group else "",
        )
        version = version.model_copy(update={"id": version.content_digest()})
        self._marks.use(spec.name, version.id)
        content = json_bytes(version.model_dump(mode="json"))
        self._objects.create(manifest_key(spec.name, version.id), content)
        if found.role == "eval" and not self._catalogue.recorded(spec.name, version.id):
            self._record(version, found, rows, None)
        return version

    def _compare(
        self, spec: ModelSpec, train: DatasetVersion, evaluation: DatasetVersion, left: LeftOut
    ) -> Split:
        """How the two sides were kept apart; rows that they share are counted and told."""
        ours = self.load(train.id, train.model)
        theirs = self.load(evaluation.id, train.model)
        for frame in (ours, theirs):
            refuse_nulls(frame, spec.features)
        counts = shared_rows(ours, theirs, [name for name, _ in train.columns])
        if counts.warning:
            logger.warning("%s: %s", train.model, counts.warning)
        return Split(
            evaluation=evaluation.id,
            group=train.group,
            left_out_rows=left.rows,
            left_out_groups=left.groups,
            shared_rows=counts.shared,
            evaluation_rows=counts.evaluation,
            repeated_rows=counts.repeated,
        )

    def _record(
        self, version: DatasetVersion, found: _Found, rows: Any, split: Split | None
    ) -> None:
        held = {snapshot.id: snapshot for snapshot in (*found.features, *found.labels)}
        files = [file for snapshot in held.values() for file in snapshot.entry.files.values()]
        facts = {
            **label_figures(rows.column("label")),
            "size": sum(file.size for file in files),
            "split": split,
            "profile": merged_profile([snapshot.entry for snapshot in found.features]),
        }
        self._catalogue.record(describe(version).model_copy(update={**facts, **self._made}))

    def get(self, dataset_id: str, model: str) -> DatasetVersion:
        """A version by its id; IntegrityBroken (exit 7) where it is not there or was altered."""
        check_id(dataset_id)
        key = manifest_key(model, dataset_id)
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
        str with "" for null), label (bool, float64, or a class's name). Raises IntegrityBroken
        (exit 7) where a snapshot is not what it was, LostRace (exit 8) where maintenance is just
        removing the version.
        """
        version = self.get(dataset_id, model)
        self._marks.use(model, dataset_id)
        features = [self._snapshots.get(model, name) for name in version.snapshot_ids]
        labels = [self._snapshots.get(model, name) for name in version.label_snapshot_ids]
        names = [*_KEYS, *(name for name, _ in version.columns), *version.group]
        joined = self._join(features, labels, version.event_window, names)
        if version.without_groups_of:
            held = self._groups(version.without_groups_of, model, version.group)
            joined, _ = without_groups(joined, version.group, held)
        if joined.num_rows != version.rows:
            raise IntegrityBroken(
                f"dataset {dataset_id}: {joined.num_rows} rows, {version.rows} were recorded"
            )
        return _to_frame(joined, version)

    def _groups(self, dataset_id: str, model: str, group: list[str]) -> Any:
        """The group of each row of a version."""
        version = self.get(dataset_id, model)
        features = [self._snapshots.get(model, name) for name in version.snapshot_ids]
        labels = [self._snapshots.get(model, name) for name in version.label_snapshot_ids]
        rows = self._join(features, labels, version.event_window, [*_KEYS, *group])
        return group_keys(rows, group)

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
        store, names = self._snapshots, list(dict.fromkeys(columns))
        left = [_checked(store.read_features(one, names), one, names) for one in features]
        right = [store.read_labels(snapshot).select(["entity_key", "label"]) for snapshot in labels]
        if not left or not right:
            return pa.table({name: pa.array([], pa.string()) for name in [*names, "label"]})
        rows = _as_one(left)
        known = _as_one(right)
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


def _checked(table: Any, snapshot: Snapshot, names: list[str]) -> Any:
    """The table with the columns in order; DataRejected (exit 3) where the snapshot lacks one."""
    for name in names:
        if name not in table.column_names:
            raise DataRejected(
                f"snapshot {snapshot.id[:12]} of {snapshot.window} has no column {name!r}: it was "
                "ingested before that was declared",
                remedy="Ingest the windows again.",
            )
    return table.select(names)


def _as_one(tables: list[Any]) -> Any:
    """All tables below each other; DataRejected (exit 3) where a column's type differs."""
    try:
        return pa.concat_tables(tables)
    except pa.ArrowInvalid as error:
        raise DataRejected(
            f"snapshots of different declarations: {str(error)[:300]}",
            remedy="Ingest the older windows again.",
        ) from error


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
    label = table.column("label")
    columns["label"] = label.to_pandas().astype(_LABEL_TYPES.get(label.type, "object"))
    return pd.DataFrame(columns)
