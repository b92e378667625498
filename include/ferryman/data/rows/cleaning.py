"""What cleaning did to a source's rows: counts by reason, and each row as it was."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from ferryman.errors import DataRejected

QUARANTINE = pa.schema(
    {
        "source": pa.string(),
        "part": pa.string(),  # the file, query or path that the row came from
        "place": pa.string(),  # `line 17`, `row 16`
        "action": pa.string(),  # `dropped` or `changed`: what became of the row
        "column": pa.string(),  # null where the row as such is at fault
        "reason": pa.string(),
        "value": pa.string(),  # the cell as it was, as text
        "row": pa.string(),  # the whole raw row as a JSON object of texts
    }
)


@dataclass(frozen=True)
class Cleaning:
    """What was done to the rows of a span.

    `rows` were looked at; `dropped` are gone, `changed` were mended (a row counts once, as dropped
    if it is both). `counts` says how many rows each reason ("column 'temp': is above 130") touched.
    `quarantine` is a pyarrow Table of the schema QUARANTINE: one line for each row and reason.
    """

    rows: int = 0
    dropped: int = 0
    changed: int = 0
    counts: Mapping[str, int] = field(default_factory=dict)
    quarantine: Any = field(default_factory=QUARANTINE.empty_table)


class RowsRejected(DataRejected):
    """More rows are bad than declared; `cleaning` holds every one of them."""

    def __init__(
        self, text: str, *, remedy: str | None = None, cleaning: Cleaning | None = None
    ) -> None:
        super().__init__(text, remedy=remedy)
        self.cleaning = cleaning or Cleaning()
