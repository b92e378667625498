"""The manifest of a dataset version: which rows of which snapshots, named by its own content."""

import hashlib
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from ferryman.runtime.messages import canonical_json
from ferryman.spec.windows import Window

Role = Literal["train", "eval"]
# Left out of the digest where they hold nothing, so that versions without them keep their ids.
_LATER_FIELDS = ("group", "without_groups_of")


class DatasetVersion(BaseModel):
    """A content-addressed manifest; `id` is the sha256 of the rest of it.

    `event_window` bounds the events; their features come from `snapshot_ids`, their labels from
    `label_snapshot_ids`; `rows` counts the labelled events that are left after the split.
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
    group: list[str] = Field(
        default_factory=list, description="Columns that name a group, where groups may not cross."
    )
    without_groups_of: str = Field(
        default="", description="Id of the evaluation version whose groups are left out."
    )

    def content_digest(self) -> str:
        """The sha256 of the canonical JSON of everything but the id."""
        content = self.model_dump(mode="json", exclude={"id"})
        for name in _LATER_FIELDS:
            if not content[name]:
                del content[name]
        return hashlib.sha256(canonical_json(content)).hexdigest()


def manifest_key(model: str, dataset_id: str) -> str:
    """Where the manifest is kept."""
    return f"{model}/datasets/{dataset_id}.json"
