"""The kinds of source that a declaration may name, and the columns that they give."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal
from zoneinfo import available_timezones

from pydantic import Field, field_validator, model_validator

from ferryman.spec.durations import Duration
from ferryman.spec.part import Part

ColumnType = Literal["integer", "number", "category", "text", "boolean", "timestamp"]

IDENTIFIER = r"^[a-z][a-z0-9_]{0,62}$"
MODEL_FILE = r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$"
_NUMERIC = ("integer", "number")
_EXACT = 2.0**53  # up to here a float holds every whole number


class OutlierSpec(Part):
    """Which values lie too far from the rest of their day, and what becomes of them."""

    method: Literal["iqr", "mad", "zscore"] = Field(
        default="iqr",
        description="Distance from the quartiles in interquartile ranges, from the median in "
        "median absolute deviations (scaled to a standard deviation), or from the mean in "
        "standard deviations.",
    )
    factor: float = Field(
        default=3.0, gt=0, allow_inf_nan=False, description="How many of them are too far."
    )
    action: Literal["drop", "null", "clip"] = "drop"
    min_rows: int = Field(default=30, ge=4, description="A day with fewer values is not judged.")


class ColumnSpec(Part):
    """One column of a source: its type, and what becomes of cells that are not as declared."""

    type: ColumnType
    nullable: bool = False
    known: Literal["at_event", "later"] = Field(
        default="at_event",
        description="`later` columns (outcomes) do not exist in the features query at all.",
    )
    zone: str | None = Field(
        default=None, description="Zone of times that are stored without one, such as Europe/Rome."
    )
    min: float | None = Field(
        default=None, allow_inf_nan=False, description="Smallest legal value."
    )
    max: float | None = Field(default=None, allow_inf_nan=False, description="Largest legal value.")
    values: list[str] | None = Field(
        default=None, min_length=1, description="The only legal categories."
    )
    invalid: Literal["drop", "null", "clip"] = Field(
        default="drop",
        description="A cell that is not of the type, range or categories: drop its row, make it "
        "null, or move it to the bound that it passed (one of another type has none: its row is "
        "dropped). All are counted against max_rejected.",
    )
    fill: int | float | str | bool | None = Field(
        default=None, description="What stands in for null; each is counted as a changed row."
    )
    outliers: OutlierSpec | None = None

    @field_validator("zone")
    @classmethod
    def _is_a_zone(cls, zone: str | None) -> str | None:
        if zone is not None and zone not in available_timezones():
            raise ValueError(f"{zone!r} is no time zone of the IANA database")
        return zone

    @model_validator(mode="after")
    def _fits_its_type(self) -> "ColumnSpec":
        numeric = self.type in _NUMERIC
        bounded = self.min is not None or self.max is not None
        if (bounded or self.outliers is not None) and not numeric:
            raise ValueError(f"min, max and outliers are for numbers, not for {self.type}")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min} is above max {self.max}")
        if self.values is not None and self.type not in ("category", "text"):
            raise ValueError(f"values are for categories, not for {self.type}")
        if self.zone is not None and self.type != "timestamp":
            raise ValueError(f"zone is for timestamps, not for {self.type}")
        if self.invalid == "clip" and not bounded:
            raise ValueError("invalid: clip needs min or max")
        makes_null = self.invalid == "null" or (
            self.outliers is not None and self.outliers.action == "null"
        )
        if makes_null and not self.nullable and self.fill is None:
            raise ValueError("a column that may become null must be nullable, or have a fill")
        self._check_bounds()
        self._check_fill()
        return self

    def _check_bounds(self) -> None:
        for bound in (self.min, self.max):
            if self.type != "integer" or bound is None:
                continue
            if not bound.is_integer() or abs(bound) > _EXACT:
                raise ValueError(f"the bound {bound} of an integer is no whole number up to 2^53")

    def _check_fill(self) -> None:
        legal: Mapping[str, tuple[type, ...]] = {
            "integer": (int,),
            "number": (int, float),
            "category": (str,),
            "text": (str,),
            "boolean": (bool,),
        }
        fits = isinstance(self.fill, legal.get(self.type, ()))
        if isinstance(self.fill, bool) and self.type != "boolean":
            fits = False
        if self.fill is None:
            return
        if not fits or (self.type in _NUMERIC and not abs(float(self.fill)) <= _EXACT):
            raise ValueError(f"fill {str(self.fill)[:40]!r} is no {self.type}")
        if self.values is not None and self.fill not in self.values:
            raise ValueError(f"fill {str(self.fill)[:40]!r} is none of the values")
        if self.type in _NUMERIC:
            filled = float(self.fill)
            low = -_EXACT if self.min is None else self.min
            high = _EXACT if self.max is None else self.max
            if not low <= filled <= high:
                raise ValueError(f"fill {self.fill} lies outside of min and max")


class _SourceSpec(Part):
    """What every kind of source declares."""

    event_time: str | None = Field(
        default=None, description="The column that windows select by; none is a lookup table."
    )
    lookback: Duration | None = Field(
        default=None, description="How far before the window its rows may be read."
    )
    columns: dict[str, ColumnSpec] = Field(min_length=1)
    key: list[str] = Field(
        default_factory=list,
        description="Columns that name a row: a second one on the same day (UTC) of event time, or "
        "anywhere in a lookup table, is a duplicate and is dropped.",
    )
    keep: Literal["first", "last"] = Field(
        default="first", description="Which of several rows of one key stays."
    )
    max_rejected: float | None = Field(
        default=None,
        ge=0,
        lt=1,
        description="Largest share of a window's rows that may be dropped or changed; default "
        "data.max_rejected.",
    )

    @model_validator(mode="after")
    def _columns_are_declared(self) -> "_SourceSpec":
        if self.event_time is not None:
            column = self.columns.get(self.event_time)
            if column is None or column.type != "timestamp":
                raise ValueError(
                    f"event_time {self.event_time!r} is not a declared timestamp column"
                )
        elif self.lookback is not None:
            raise ValueError("lookback needs event_time")
        for name in self.key:
            if name not in self.columns:
                raise ValueError(f"key {name!r} is not a declared column")
        return self


class FilesSourceSpec(_SourceSpec):
    """CSV, JSON lines or Parquet files; {year}, {month}, {day} in the path are the window's."""

    kind: Literal["files"]
    connection: str | None = Field(
        default=None,
        pattern=IDENTIFIER,
        description="Connection to the bucket or folder that the path is below; default the "
        "installation's source root.",
    )
    path: str = Field(
        pattern=r"^[A-Za-z0-9_{*][A-Za-z0-9_./{}*-]*\.(parquet|(csv|jsonl|ndjson)(\.gz)?)$",
        description="Below the connection's root; `*` stands for any part of one name.",
    )
    manifest: Literal["optional", "required"] = Field(
        default="optional",
        description="Whether each file must come with <file>.manifest.json (bytes, sha256, rows).",
    )
    max_bytes: int = Field(
        default=2 << 30, ge=1, description="Largest size of a file, after unpacking."
    )
    max_ratio: float = Field(
        default=200, gt=1, description="Largest ratio of unpacked to packed bytes."
    )

    @model_validator(mode="after")
    def _path_is_plain(self) -> "FilesSourceSpec":
        parts = set(re.findall(r"{(.*?)}", self.path))
        if ".." in self.path or not parts <= {"year", "month", "day"}:
            raise ValueError(f"path {self.path!r}: only {{year}}, {{month}}, {{day}} and no '..'")
        return self


class SqlSourceSpec(_SourceSpec):
    """A table, or a query in the model's folder, of any database that SQLAlchemy speaks to."""

    kind: Literal["sql"]
    connection: str = Field(pattern=IDENTIFIER, description="Name of a connection to a database.")
    table: str | None = Field(
        default=None, pattern=r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)?$"
    )
    query: str | None = Field(
        default=None,
        pattern=MODEL_FILE,
        description="File with one SELECT; it may use :start and :end, the span's edges.",
    )
    batch_rows: int = Field(default=50_000, ge=1, le=1_000_000, description="Rows a fetch.")
    timeout: Duration | None = Field(default=None, description="Longest time for one query.")

    @model_validator(mode="after")
    def _one_origin(self) -> "SqlSourceSpec":
        if (self.table is None) == (self.query is None):
            raise ValueError("give exactly one of table and query")
        return self


class PagingSpec(Part):
    """How an API says that there is more: a cursor in the answer, sent with the next request."""

    cursor: str = Field(description="Where the answer holds the next cursor, such as meta.next.")
    param: str = Field(default="cursor", description="Query parameter that carries it.")
    max_pages: int = Field(default=10_000, ge=1)


class HttpSourceSpec(_SourceSpec):
    """Records of a JSON API, page by page."""

    kind: Literal["http"]
    connection: str = Field(pattern=IDENTIFIER, description="Name of a connection to an API.")
    path: str = Field(pattern=r"^/[A-Za-z0-9_./~-]*$", description="Below the connection's URL.")
    query: dict[str, str] = Field(
        default_factory=dict,
        description="Query parameters; {start} and {end} stand for the span's edges in ISO 8601.",
    )
    records: str = Field(
        default="", description="Where the answer holds the list of records, such as data.items."
    )
    count: str | None = Field(
        default=None, description="Where the answer tells the number of all records, if it does."
    )
    paging: PagingSpec | None = None
    per_second: float = Field(default=10.0, gt=0, description="Most requests a second.")
    attempts: int = Field(default=5, ge=1, le=20, description="Attempts a page, with waits.")
    patience: Duration | None = Field(
        default=None, description="Longest time for the whole reading; default 5 minutes."
    )
    max_bytes: int = Field(default=64 << 20, ge=1, description="Largest size of one answer.")

    @model_validator(mode="after")
    def _request_is_plain(self) -> "HttpSourceSpec":
        if {".", ".."} & set(self.path.split("/")):
            raise ValueError(f"path {self.path!r}: no '.' and no '..'")
        used = {mark for value in self.query.values() for mark in re.findall(r"{(.*?)}", value)}
        if used - {"start", "end"}:
            raise ValueError(
                f"query: no value {{{min(used - {'start', 'end'})}}}; only {{start}}, {{end}}"
            )
        if used and self.event_time is None:
            raise ValueError(f"query uses {{{min(used)}}}, which needs event_time")
        return self


SourceSpec = Annotated[
    FilesSourceSpec | SqlSourceSpec | HttpSourceSpec, Field(discriminator="kind")
]


def describe(spec: Any) -> str:
    """What a source reads, in a few words without addresses: for the catalogue and for lineage."""
    if isinstance(spec, FilesSourceSpec):
        return f"files {spec.connection or 'source root'}:{spec.path}"
    if isinstance(spec, SqlSourceSpec):
        return f"sql {spec.connection}:{spec.table or spec.query}"
    return f"http {spec.connection}:{spec.path}"
