"""Records of a JSON API, page by page, as a source of typed rows."""

import logging
from collections.abc import Iterator, Sequence
from datetime import timedelta
from functools import partial
from typing import Any

from ferryman.data.rows.cells import table_of_cells
from ferryman.data.rows.column_types import shorten
from ferryman.data.rows.judgement import Judgement
from ferryman.data.rows.quarantine import Origin
from ferryman.data.rows.row_intake import RowIntake
from ferryman.data.sources.header import check_names
from ferryman.data.sources.http_answers import HttpAnswers, Manners, Pace
from ferryman.data.sources.http_pages import PageBook
from ferryman.data.sources.line_limit import LineLimit
from ferryman.data.sources.lookup_rows import LookupRows
from ferryman.data.sources.rows_digest import RowsDigest
from ferryman.data.sources.source import SourcePart, SourceRows
from ferryman.errors import DataRejected
from ferryman.runtime.connections import Connections
from ferryman.spec.sources import HttpSourceSpec
from ferryman.spec.windows import Window, format_time

_LONGEST = timedelta(minutes=5)

_EDGES = ("{start}", "{end}")

logger = logging.getLogger(__name__)


class HttpSource:
    """Asks an API for the records of a span, and believes it only as far as it can be checked.

    A record is a flat object whose keys are the declared columns, as in JSON lines. Records that
    lie outside of the span are left out, as a file's rows of other days are; where the span was
    asked for and every record lies outside of it, the answer is refused. The order is the API's. A
    lookup table is read once and kept. `pause` is the first wait between two attempts, in seconds.

    Safe to read from several threads, which keep the declared pace together.
    """

    def __init__(
        self,
        name: str,
        spec: HttpSourceSpec,
        connections: Connections,
        *,
        max_rejected: float = 0.0,
        pause: float = 0.5,
    ) -> None:
        self.name = name
        self.spec = spec
        self._connections = connections
        self._max_rejected = max_rejected
        self._manners = Manners(spec.attempts, spec.max_bytes, pause)
        self._pace = Pace(spec.per_second)
        self._lookup = LookupRows()

    def read(
        self,
        span: Window | None,
        required: Window | None = None,
        judgement: Judgement | None = None,
    ) -> SourceRows:
        """See Source.read; an API that gives nothing where it was asked for all is refused.

        Raises the errors of HttpAnswers.get.
        """
        if span is None:
            return self._lookup.get(lambda: self._read(None, None, Judgement()))
        return self._read(span, required, judgement or Judgement(required))

    def _read(
        self, span: Window | None, required: Window | None, judgement: Judgement
    ) -> SourceRows:
        spec = self.spec
        shown = f"source {self.name!r} ({spec.path})"
        intake = RowIntake(self.name, spec, span, judgement, max_rejected=self._max_rejected)
        digest = RowsDigest(list(spec.columns))
        part = spec.path + (f" {span}" if span is not None else "")
        for page, records in enumerate(self._pages(span, shown), 1):
            raw, misfits = table_of_cells(
                self._cells(records, f"{shown}: page {page}"), spec.columns
            )
            place = partial(_places, page, digest.rows)
            origin = Origin(part=part, shown=shown, form="json", places=place)
            intake.add(raw, digest.rows, origin, misfits)
            digest.add(raw, misfits)
        by_span = any(mark in value for value in spec.query.values() for mark in _EDGES)
        if not digest.rows and not by_span and (required is not None or span is None):
            raise DataRejected(f"{shown}: gave no records at all", remedy="Look at it with curl.")
        table, cleaning = intake.finish()
        if digest.rows and by_span and not table.num_rows and not cleaning.dropped:
            raise DataRejected(
                f"{shown}: was asked for {span}, and all of its {digest.rows} records lie outside",
                remedy="Look whether the API reads the edges as they are meant (ISO 8601, UTC).",
            )
        if span is not None and table.num_rows < digest.rows:
            logger.info("%s: %d records, %d of %s", shown, digest.rows, table.num_rows, span)
        read = SourcePart(part, digest.hexdigest(), digest.bytes, digest.rows)
        return SourceRows(
            table=table.combine_chunks(), parts=(read,), query=self._asked(), cleaning=cleaning
        )

    def _asked(self) -> str:
        given = "&".join(f"{name}={value}" for name, value in self.spec.query.items())
        return f"GET {self.spec.path}" + (f"?{given}" if given else "")

    def _pages(self, span: Window | None, shown: str) -> Iterator[Sequence[Any]]:
        """The records of each page, while the API says that there is more, all in time."""
        seconds = (self.spec.patience or _LONGEST).total_seconds()
        connection = self._connections.get(self.spec.connection)
        with LineLimit(seconds) as limit:
            answers = HttpAnswers(connection, self._manners, self._pace, limit, shown)
            try:
                yield from self._turn_pages(answers, span, shown)
            finally:
                answers.close()

    def _turn_pages(
        self, answers: HttpAnswers, span: Window | None, shown: str
    ) -> Iterator[Sequence[Any]]:
        spec, book = self.spec, PageBook(self.spec, shown)
        params = {name: _fill(value, span) for name, value in spec.query.items()}
        while True:
            answer = answers.get(spec.path, params, book.pages + 1)
            yield book.take(answer)
            cursor = book.next_cursor(answer)
            if cursor is None or spec.paging is None:
                break
            params[spec.paging.param] = cursor
        book.check_count()

    def _cells(self, records: Sequence[Any], where: str) -> dict[str, list[object]]:
        """The cells of a page by column; DataRejected for what is no flat record."""
        declared = self.spec.columns
        for number, record in enumerate(records, 1):
            if not isinstance(record, dict):
                raise DataRejected(f"{where}, record {number} is no object: {shorten(record)}")
            if record.keys() != declared.keys():
                check_names(list(record), declared, f"{where}, record {number}")
            for name, cell in record.items():
                if isinstance(cell, list | dict):
                    raise DataRejected(
                        f"{where}, record {number} has a list or an object in column {name!r}; "
                        "a cell is one value"
                    )
        return {name: [record[name] for record in records] for name in declared}


def _fill(value: str, span: Window | None) -> str:
    if span is None:
        return value
    for mark, edge in zip(_EDGES, (span.start, span.end), strict=True):
        value = value.replace(mark, format_time(edge))
    return value


def _places(page: int, first: int, positions: Sequence[int]) -> list[str]:
    return [f"page {page}, record {position - first + 1}" for position in positions]
