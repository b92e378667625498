"""The port to raw data: a source gives typed rows of a time span and says what it read."""

from dataclasses import dataclass
from typing import Any, Protocol

from ferryman.spec.data import FilesSourceSpec
from ferryman.spec.windows import Window


@dataclass(frozen=True)
class SourceFile:
    """One file that was read: its path below the source root, its sha256, bytes and rows."""

    path: str
    sha256: str
    size: int
    rows: int


@dataclass(frozen=True)
class SourceRows:
    """Typed rows, what they were read from, and how many rows were dropped as declared.

    `table` is a pyarrow Table with every declared column, in declared order: integer is int64,
    number float64, category and text string, boolean bool, timestamp timestamp[us, UTC].
    """

    table: Any
    files: tuple[SourceFile, ...]
    dropped: int = 0


class Source(Protocol):
    """Where the rows of one declared source come from."""

    name: str
    spec: FilesSourceSpec

    def read(self, span: Window | None, required: Window | None = None) -> SourceRows:
        """Rows whose event time lies in the span; the whole source where `span` is None.

        The part of the span in `required` must be there; older parts may lie before the first
        data. Raises DataRejected (exit 3) where rows are missing or not what was declared.
        """
        ...
