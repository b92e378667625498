"""The `data` and `features` parts of a declaration: sources, label, retention, feature columns."""

from datetime import timedelta
from typing import Literal, Self

from pydantic import Field, model_validator

from ferryman.spec.durations import Duration
from ferryman.spec.part import Part
from ferryman.spec.sources import IDENTIFIER, MODEL_FILE, SourceSpec

FeatureType = Literal["integer", "number", "category"]


class LabelSpec(Part):
    """The outcome to predict, and when it becomes known."""

    name: str = Field(pattern=IDENTIFIER)
    sql: str | None = Field(
        default=None,
        pattern=MODEL_FILE,
        description="Query in the model's folder; it sees every column. Needed unless `posted`.",
    )
    posted: bool = Field(
        default=False,
        description="Labels that clients post teach, too: a window's snapshot holds those of the "
        "events that are due in it.",
    )
    known_after: Duration = Field(description="Time from the event until the label is known.")
    max_unknown: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="Largest share of a window's events whose outcome is null (never known).",
    )

    @model_validator(mode="after")
    def _has_a_source(self) -> Self:
        if self.sql is None and not self.posted:
            raise ValueError("needs sql, a query for the outcomes, unless posted is true")
        return self


class ReplaySpec(Part):
    """A recorded year that is lived again: today's window reads the same day of that year."""

    year: int = Field(ge=1970, le=2100)


class RetentionSpec(Part):
    """How long what nothing needs any more is kept; what is in use or held is never removed."""

    superseded: Duration = Field(
        default=timedelta(days=30), description="Snapshots that another one has replaced."
    )
    datasets: Duration = Field(
        default=timedelta(days=90), description="Dataset versions that no registered model used."
    )
    runs: Duration = Field(default=timedelta(days=90), description="Results of finished runs.")
    windows: Duration | None = Field(
        default=None, description="Published windows older than this; default for ever."
    )
    quarantine: Duration = Field(default=timedelta(days=365), description="Quarantined rows.")
    scores: Duration = Field(
        default=timedelta(days=365),
        description="Scores of batches, unless the result of a run that is kept names them.",
    )
    backfills: Duration = Field(
        default=timedelta(days=90),
        description="What a backfill of monitoring wrote, unless its run is kept.",
    )
    labels: Duration | None = Field(
        default=None,
        description="Labels that clients posted, once they matured and, where there is a monitor, "
        "a night has joined them; default serving.log.keep, or for ever where they teach "
        "(label.posted).",
    )
    apply: bool = Field(
        default=False, description="Whether scheduled maintenance removes, or only reports."
    )


class DataSpec(Part):
    """Where rows come from. A window is one day of event time, UTC."""

    sources: dict[str, SourceSpec] = Field(min_length=1)
    label: LabelSpec
    replay: ReplaySpec | None = None
    max_rejected: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="Largest share of a window's rows that may be dropped or changed.",
    )
    retention: RetentionSpec = RetentionSpec()


class FeatureSpec(Part):
    """One feature column, as training, batch and online scoring see it."""

    type: FeatureType
    nullable: bool = Field(
        default=True, description="Whether a row may lack it, in training as in serving."
    )
    known_at: str | None = Field(
        default=None, description="Column of the query that says when this value became known."
    )


class FeaturesSpec(Part):
    """The query that joins sources into one row an event, and the columns that it gives."""

    sql: str = Field(pattern=MODEL_FILE)
    event_time: str = Field(default="event_time", pattern=IDENTIFIER)
    entity: list[str] = Field(
        min_length=1, description="Columns that, with the time, name an event."
    )
    columns: dict[str, FeatureSpec] = Field(min_length=1)
