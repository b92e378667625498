"""The `data` and `features` parts of a declaration: sources, label, feature columns."""

import re
from typing import Literal

from pydantic import Field, model_validator

from ferryman.spec.durations import Duration
from ferryman.spec.part import Part

ColumnType = Literal["integer", "number", "category", "text", "boolean", "timestamp"]
FeatureType = Literal["integer", "number", "category"]

_IDENTIFIER = r"^[a-z][a-z0-9_]{0,62}$"
_FILE = r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$"


class ColumnSpec(Part):
    """One column of a source."""

    type: ColumnType
    nullable: bool = False
    known: Literal["at_event", "later"] = Field(
        default="at_event",
        description="`later` columns (outcomes) do not exist in the features query at all.",
    )


class FilesSourceSpec(Part):
    """Files under the source root; {year}, {month}, {day} in the path stand for the window."""

    kind: Literal["files"]
    path: str = Field(pattern=r"^[A-Za-z0-9_{][A-Za-z0-9_./{}-]*\.(parquet|csv)$")
    event_time: str | None = Field(
        default=None, description="The column that windows select by; none is a lookup table."
    )
    lookback: Duration | None = Field(
        default=None, description="How far before the window its rows may be read."
    )
    columns: dict[str, ColumnSpec] = Field(min_length=1)

    @model_validator(mode="after")
    def _check(self) -> "FilesSourceSpec":
        parts = set(re.findall(r"{(.*?)}", self.path))
        if ".." in self.path or not parts <= {"year", "month", "day"}:
            raise ValueError(f"path {self.path!r}: only {{year}}, {{month}}, {{day}} and no '..'")
        if self.event_time is not None:
            column = self.columns.get(self.event_time)
            if column is None or column.type != "timestamp":
                raise ValueError(
                    f"event_time {self.event_time!r} is not a declared timestamp column"
                )
        elif self.lookback is not None:
            raise ValueError("lookback needs event_time")
        return self


class LabelSpec(Part):
    """The outcome to predict, and when it becomes known."""

    name: str = Field(pattern=_IDENTIFIER)
    sql: str = Field(
        pattern=_FILE, description="Query in the model's folder; it sees every column."
    )
    known_after: Duration = Field(description="Time from the event until the label is known.")


class ReplaySpec(Part):
    """A recorded year that is lived again: today's window reads the same day of that year."""

    year: int = Field(ge=1970, le=2100)


class DataSpec(Part):
    """Where rows come from. A window is one day of event time, UTC."""

    sources: dict[str, FilesSourceSpec] = Field(min_length=1)
    label: LabelSpec
    replay: ReplaySpec | None = None
    max_rejected: float = Field(
        default=0.0, ge=0, lt=1, description="Largest share of a window's rows that may be dropped."
    )


class FeatureSpec(Part):
    """One feature column, as training, batch and online scoring see it."""

    type: FeatureType
    known_at: str | None = Field(
        default=None, description="Column of the query that says when this value became known."
    )


class FeaturesSpec(Part):
    """The query that joins sources into one row an event, and the columns that it gives."""

    sql: str = Field(pattern=_FILE)
    event_time: str = Field(default="event_time", pattern=_IDENTIFIER)
    entity: list[str] = Field(
        min_length=1, description="Columns that, with the time, name an event."
    )
    columns: dict[str, FeatureSpec] = Field(min_length=1)
