"""The catalogue of dataset versions: what each is, why and by whom it was made, what was allowed.

<model>/datasets/<id>.entry.json                 beside the manifest, created once
<model>/datasets/<id>.overrides/<run key>.json   a person's word that a leak is none, created once
"""

import logging
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Literal, TypeVar

from pydantic import AwareDatetime, BaseModel, Field, JsonValue, ValidationError

from ferryman.data.versions.catalogue_entry import CatalogueEntry, Record
from ferryman.data.versions.dataset_version import DatasetVersion, Role, manifest_key
from ferryman.errors import IntegrityBroken, SpecError
from ferryman.runtime.files import json_bytes
from ferryman.runtime.object_store import ObjectStore
from ferryman.spec.windows import Window

logger = logging.getLogger(__name__)

_MANIFEST = re.compile(r"[^/]+/datasets/([0-9a-f]{64})\.json")
_Kind = TypeVar("_Kind", bound=BaseModel)
_SHOWN = 3  # classes that are named in a line
LEAST_BEGINNING = 4  # characters of an id that somebody may name it by


class Split(Record):
    """How a training version was kept apart from the evaluation version that belongs to it."""

    evaluation: str = Field(description="Id of that evaluation version.")
    group: list[str] = Field(default_factory=list)
    left_out_rows: int = Field(default=0, description="Training rows whose group evaluates.")
    left_out_groups: int = 0
    shared_rows: int = Field(
        description="Evaluation rows that equal a training row in every feature and the label."
    )
    evaluation_rows: int
    repeated_rows: int = Field(description="Training rows that equal an earlier one.")


class Override(Record):
    """What was found, and who let it pass for one training, with which reason."""

    dataset: str
    run_key: str
    actor: str
    reason: str
    findings: list[str]
    at: AwareDatetime


class DatasetEntry(Record):
    """What can be known of a dataset version without opening its data."""

    format: Literal[1] = 1
    id: str
    model: str
    role: Role
    reason: str = ""
    actor: str = ""
    created_at: AwareDatetime | None = None
    cutoff: AwareDatetime
    event_window: Window
    rows: int
    label: str
    label_share: float | None = Field(default=None, description="Share of rows whose label is true")
    class_shares: dict[str, float] | None = Field(
        default=None, description="Share of rows of each class that has any."
    )
    label_mean: float | None = Field(default=None, description="Mean of a label that is a number.")
    label_sd: float | None = Field(default=None, description="Its standard deviation over rows.")
    size: int | None = Field(default=None, description="Bytes of the files that hold it.")
    windows: int = Field(description="Snapshots that its features come from.")
    table_schema: dict[str, str]
    parents: list[str] = Field(
        default_factory=list, description="The version of this role with the cut-off before."
    )
    split: Split | None = None
    profile: dict[str, JsonValue] = Field(default_factory=dict)

    @property
    def label_words(self) -> str:
        """The labels of the rows in a few words; empty where the entry does not tell."""
        if self.label_share is not None:
            return f"{self.label_share:.1%}"
        if self.label_mean is not None:
            return f"{self.label_mean:.4g} ± {self.label_sd or 0:.3g}"
        shares = sorted((self.class_shares or {}).items(), key=lambda one: (-one[1], one[0]))
        more = [f"{len(shares) - _SHOWN} more"] if len(shares) > _SHOWN else []
        return ", ".join([*(f"{name} {share:.1%}" for name, share in shares[:_SHOWN]), *more])


class DatasetCatalogue:
    """Entries and overrides of all models in one place."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects

    def ids(self, model: str) -> list[str]:
        """The ids of all dataset versions; by a listing, so for showing."""
        found = (_MANIFEST.fullmatch(key) for key in self._objects.keys(f"{model}/datasets"))
        return [match[1] for match in found if match]

    def recorded(self, model: str, dataset_id: str) -> bool:
        """Whether a version has its entry."""
        return self._objects.size(_entry_key(model, dataset_id)) is not None

    def record(self, entry: DatasetEntry) -> None:
        """Keep an entry with the present time and its parent; the first one stands."""
        known = [self._manifest(entry.model, name) for name in self.ids(entry.model)]
        before = [
            (version.cutoff, version.id)
            for version in known
            if version is not None and version.role == entry.role and version.cutoff < entry.cutoff
        ]
        made = entry.model_copy(
            update={"parents": [max(before)[1]] if before else [], "created_at": datetime.now(UTC)}
        )
        self._objects.create(
            _entry_key(entry.model, entry.id), json_bytes(made.model_dump(mode="json"))
        )

    def entry(self, model: str, dataset_id: str) -> DatasetEntry | None:
        """A version's entry, or what its manifest alone says; None where there is no version."""
        content = self._objects.read(_entry_key(model, dataset_id))
        if content is None:
            version = self._manifest(model, dataset_id)
            return None if version is None else describe(version)
        return self._parsed(DatasetEntry, content, _entry_key(model, dataset_id))

    def entries(self, model: str) -> list[DatasetEntry]:
        """The entry of every version, oldest cut-off first, evaluation before training."""
        found = [self.entry(model, name) for name in self.ids(model)]
        return sorted(
            (entry for entry in found if entry is not None),
            key=lambda entry: (entry.cutoff, entry.role, entry.id),
        )

    def resolve(self, model: str, beginning: str) -> str:
        """The one version whose id begins so; SpecError (exit 2) where none or several do."""
        found = [name for name in self.ids(model) if name.startswith(beginning)]
        if len(found) == 1 and len(beginning) >= LEAST_BEGINNING:
            return found[0]
        few = f"; give at least {LEAST_BEGINNING} characters" if len(found) == 1 else ""
        how = "no dataset version" if not found else f"{len(found)} dataset version(s)"
        raise SpecError(
            f"{how} of {model!r} with an id that begins with {beginning[:80]!r}{few}",
            remedy=f"`ferryman data list --model {model} --kind datasets` shows them.",
        )

    def allow(self, model: str, override: Override) -> Override:
        """Keep an override; the one that stands for its run key comes back, be it older."""
        key = _override_key(model, override.dataset, override.run_key)
        self._objects.create(key, json_bytes(override.model_dump(mode="json")))
        return self.override(model, override.dataset, override.run_key) or override

    def override(self, model: str, dataset_id: str, run_key: str) -> Override | None:
        """What was allowed for one training on a version, or None."""
        key = _override_key(model, dataset_id, run_key)
        content = self._objects.read(key)
        return None if content is None else self._parsed(Override, content, key)

    def overrides(self, model: str, dataset_id: str) -> list[Override]:
        """Everything that was ever allowed on a version, oldest first."""
        keys = self._objects.keys(f"{model}/datasets/{dataset_id}.overrides")
        found = [self._parsed(Override, self._objects.read(key) or b"", key) for key in keys]
        return sorted(found, key=lambda override: override.at)

    def show(self, model: str, dataset_id: str) -> dict[str, Any] | None:
        """All that is known of a version, as JSON values: entry, manifest, overrides."""
        entry, manifest = self.entry(model, dataset_id), self._manifest(model, dataset_id)
        if entry is None or manifest is None:
            return None
        return {
            **entry.model_dump(mode="json"),
            "labels": entry.label_words,
            "snapshot_ids": manifest.snapshot_ids,
            "label_snapshot_ids": manifest.label_snapshot_ids,
            "overrides": [one.model_dump(mode="json") for one in self.overrides(model, dataset_id)],
        }

    def _manifest(self, model: str, dataset_id: str) -> DatasetVersion | None:
        key = manifest_key(model, dataset_id)
        content = self._objects.read(key)
        return None if content is None else self._parsed(DatasetVersion, content, key)

    def _parsed(self, kind: type[_Kind], content: bytes, key: str) -> _Kind:
        try:
            return kind.model_validate_json(content)
        except ValidationError as error:
            raise IntegrityBroken(
                f"{self._objects.uri(key)}: not readable: {str(error)[:300]}",
                remedy="Restore the object from a copy; it was written whole and never changed.",
            ) from error


def describe(version: DatasetVersion) -> DatasetEntry:
    """The part of an entry that follows from the manifest."""
    return DatasetEntry(
        id=version.id,
        model=version.model,
        role=version.role,
        cutoff=version.cutoff,
        event_window=version.event_window,
        rows=version.rows,
        label=version.label,
        windows=len(version.snapshot_ids),
        table_schema=dict(version.columns),
    )


def label_figures(label: Any) -> dict[str, Any]:
    """What an entry tells of a label column that has no nulls, by the names of its fields."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_boolean(label.type):
        return {"label_share": pc.mean(label).as_py()}
    if pa.types.is_floating(label.type):
        return {"label_mean": pc.mean(label).as_py(), "label_sd": pc.stddev(label).as_py()}
    counts = {one["values"]: one["counts"] for one in pc.value_counts(label).to_pylist()}
    return {"class_shares": {name: count / len(label) for name, count in counts.items()}}


def merged_profile(windows: Sequence[CatalogueEntry]) -> dict[str, JsonValue]:
    """The profile of all events of the windows together, labelled or not, as JSON values.

    Empty where a window's profile is missing or in a form that is not read any more: it is for
    showing, and the windows' own profiles stay.
    """
    from ferryman.profiles.column_profile import merge_profiles, profile_json, read_profile

    if not all(entry.profile for entry in windows):
        return {}
    try:
        return profile_json(merge_profiles([read_profile(one.profile) for one in windows]))
    except (KeyError, TypeError, ValueError) as error:
        logger.warning("no merged profile: %s: %s", type(error).__name__, error)
        return {}


def _entry_key(model: str, dataset_id: str) -> str:
    return f"{model}/datasets/{dataset_id}.entry.json"


def _override_key(model: str, dataset_id: str, run_key: str) -> str:
    return f"{model}/datasets/{dataset_id}.overrides/{run_key}.json"
