"""A source of rows that are already in memory: for tests and for notebooks."""

from typing import Any

from ferryman.data.rows.judgement import Judgement
from ferryman.data.rows.quarantine import Origin
from ferryman.data.rows.row_intake import RowIntake
from ferryman.data.sources.header import check_names
from ferryman.data.sources.source import SourceRows
from ferryman.errors import DataRejected
from ferryman.spec.sources import SourceSpec
from ferryman.spec.windows import Window


class MemorySource:
    """Serves one pyarrow Table; it is checked against the declaration as a file would be."""

    def __init__(
        self, name: str, spec: SourceSpec, table: Any, *, max_rejected: float = 0.0
    ) -> None:
        self.name = name
        self.spec = spec
        self._table = table
        self._max_rejected = max_rejected

    def read(
        self,
        span: Window | None,
        required: Window | None = None,
        judgement: Judgement | None = None,
    ) -> SourceRows:
        """See Source.read; a table without any row has no required part."""
        shown = f"source {self.name!r}"
        check_names(self._table.column_names, self.spec.columns, shown)
        if required is not None and self._table.num_rows == 0:
            raise DataRejected(f"{shown} holds no rows at all, so none of {required}")
        judged = judgement or Judgement(required)
        intake = RowIntake(self.name, self.spec, span, judged, max_rejected=self._max_rejected)
        intake.add(self._table, 0, Origin(part="memory", shown=shown, form="typed"))
        rows, cleaning = intake.finish()
        return SourceRows(table=rows, cleaning=cleaning)
