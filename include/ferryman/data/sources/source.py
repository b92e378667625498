"""The port to raw data: a source gives typed rows of a time span and says what it read."""

from dataclasses import dataclass, field
from typing import Any, Protocol

from ferryman.data.rows.cleaning import Cleaning
from ferryman.data.rows.judgement import Judgement
from ferryman.spec.sources import SourceSpec
from ferryman.spec.windows import Window


@dataclass(frozen=True)
class SourcePart:
    """One thing that was read: a file, the answer to a query, the pages of an API.

    `name` is the file's path below its root, the table or query file, or the path of the API;
    `sha256` is over the bytes of a file, or over the rows of an answer in canonical form; `size` is
    in bytes; `rows` counts what was read, before any cleaning.
    """

    name: str
    sha256: str
    size: int
    rows: int


@dataclass(frozen=True)
class SourceRows:
    """Typed rows, what they were read from, and what cleaning did to them.

    `table` is a pyarrow Table with every declared column, in declared order: integer is int64,
    number float64, category and text string, boolean bool, timestamp timestamp[us, UTC].
    `query` is what was asked, without secrets: a path template, an SQL text, an URL path.
    """

    table: Any
    parts: tuple[SourcePart, ...] = ()
    query: str = ""
    cleaning: Cleaning = field(default_factory=Cleaning)


class Source(Protocol):
    """Where the rows of one declared source come from."""

    name: str

    @property
    def spec(self) -> SourceSpec:
        """The source's declaration."""
        ...

    def read(
        self,
        span: Window | None,
        required: Window | None = None,
        judgement: Judgement | None = None,
    ) -> SourceRows:
        """Rows whose event time lies in the span; the whole source where `span` is None.

        The part of the span in `required` must be there; older parts may lie before the first
        data. `judgement` says what is counted, judged against max_rejected and kept in quarantine;
        by default the rows of `required` (of the whole span where it is None), every column. Raises
        DataRejected (exit 3) where rows are missing or not what was declared.
        """
        ...
