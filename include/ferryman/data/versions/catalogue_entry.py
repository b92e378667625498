"""What the catalogue says of a snapshot: why, from what and by whom it was made, and its files."""

from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, JsonValue

from ferryman.spec.windows import Window


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


class StoredFile(Record):
    """One object of a snapshot, and what its bytes must be."""

    key: str
    sha256: str
    size: int


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
    overrides: list[str] = Field(
        default_factory=list,
        description="What a check refused and somebody accepted: what, by whom and why.",
    )
    parents: list[str] = Field(
        default_factory=list, description="The window's current snapshot when this one was made."
    )


class CatalogueEntry(SnapshotEntry):
    """A snapshot's catalogue entry, as it is stored."""

    format: Literal[2] = 2
    id: str
    model: str
    window: Window
    rows: int
    labels: int
    cutoff: AwareDatetime | None = Field(description="The newest event time, UTC.")
    table_schema: dict[str, str]
    files: dict[str, StoredFile] = Field(description="The stored tables: features, labels.")
    quarantine: StoredFile | None = Field(
        default=None, description="Rows that cleaning dropped or changed; no part of the id."
    )
    change: str = Field(default="", description="What differs from the parent, told by the facts.")
    change_from_parent: dict[str, JsonValue] = Field(
        default_factory=dict, description="Verdict and figures of the columns that changed."
    )
    created_at: AwareDatetime
