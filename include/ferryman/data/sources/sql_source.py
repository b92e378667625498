"""A table or a query of a database as a source of typed rows."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

from ferryman.data.rows.column_types import CellForm
from ferryman.data.rows.judgement import Judgement
from ferryman.data.rows.quarantine import Origin
from ferryman.data.rows.row_intake import RowIntake
from ferryman.data.sources.header import check_names
from ferryman.data.sources.lookup_rows import LookupRows
from ferryman.data.sources.rows_digest import RowsDigest
from ferryman.data.sources.source import SourcePart, SourceRows
from ferryman.data.sources.sql_cells import table_of_rows
from ferryman.data.sources.sql_database import SqlDatabase
from ferryman.data.sources.sql_statement import Found, SqlOrigin
from ferryman.errors import DataRejected, SpecError
from ferryman.runtime.connections import Connections
from ferryman.spec.mistakes import nearest
from ferryman.spec.sources import SqlSourceSpec
from ferryman.spec.windows import Window

_LONGEST = timedelta(minutes=10)


class SqlSource:
    """Reads rows of a span by event time, each reading in one read-only moment of the database.

    Of a `table` the declared columns alone are selected: a table has other readers, and a column
    that is added for them is no delivery to us. A `query` is written for this model, so that it
    must give exactly the declared columns. Rows come batch by batch through a cursor on the server;
    what is in memory are Arrow columns and one batch. A lookup table is read once and kept.

    Safe to read from several threads.
    """

    def __init__(
        self,
        name: str,
        spec: SqlSourceSpec,
        connections: Connections,
        folder: Path,
        *,
        max_rejected: float = 0.0,
    ) -> None:
        self.name = name
        self.spec = spec
        self._connections = connections
        self._folder = folder
        self._max_rejected = max_rejected
        self._lookup = LookupRows()

    def read(
        self,
        span: Window | None,
        required: Window | None = None,
        judgement: Judgement | None = None,
    ) -> SourceRows:
        """See Source.read; a table without any row has no required part.

        Raises SpecError (exit 2) for a wrong query or a table that is not there,
        DependencyUnavailable (exit 6) where the database is away, refuses the login or is slow.
        """
        if span is None:
            return self._lookup.get(lambda: self._read(None, None, Judgement()))
        return self._read(span, required, judgement or Judgement(required))

    def _read(
        self, span: Window | None, required: Window | None, judgement: Judgement
    ) -> SourceRows:
        spec = self.spec
        shown = f"source {self.name!r}"
        seconds = (spec.timeout or _LONGEST).total_seconds()
        database = SqlDatabase(self._connections.get(spec.connection), seconds)
        origin = SqlOrigin(spec, self._query(shown), shown)
        if origin.binds and span is None:
            raise SpecError(f"{shown}: {spec.query} uses :start or :end, and is read as a whole")
        intake = RowIntake(self.name, spec, span, judgement, max_rejected=self._max_rejected)
        digest = RowsDigest(list(spec.columns))
        part = f"{spec.table or spec.query}" + (f" {span}" if span is not None else "")
        with database.reading(shown, str(spec.table or spec.query)) as opened:
            dialect = opened.dialect.name
            values = origin.values(span, dialect)
            found = self._look(opened, origin, values, shown)
            statement = origin.rows(span, found, dialect)
            form: CellForm = "json" if dialect == "sqlite" else "typed"
            place = Origin(part=part, shown=f"{shown} ({spec.table or spec.query})", form=form)
            for rows in _batches(opened, statement, values, spec.batch_rows):
                raw, misfits = table_of_rows(rows, spec.columns, loose=dialect != "postgresql")
                intake.add(raw, digest.rows, place, misfits)
                digest.add(raw, misfits)
            if not digest.rows and (required is not None or span is None):
                self._check_any(opened, origin, values, shown)
            query = str(statement.compile(dialect=opened.dialect))
        table, cleaning = intake.finish()
        read = SourcePart(part, digest.hexdigest(), digest.bytes, digest.rows)
        return SourceRows(
            table=table.combine_chunks(), parts=(read,), query=query, cleaning=cleaning
        )

    def _query(self, shown: str) -> str | None:
        if self.spec.query is None:
            return None
        file = self._folder / self.spec.query
        try:
            return file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise SpecError(
                f"{shown}: cannot read {file}: {type(error).__name__}",
                remedy="Put the query there, as UTF-8 text.",
            ) from error

    def _look(self, opened: Any, origin: SqlOrigin, values: Any, shown: str) -> Found:
        """The columns that are there, compared with the declared ones."""
        if self.spec.table is not None:
            self._check_table(opened, shown)
        result = opened.execute(origin.probe(), values)
        description = result.cursor.description
        names = tuple(str(column[0]) for column in description)
        result.close()
        missing = [name for name in self.spec.columns if name not in names]
        # Of a table, only what may be a renamed column is of interest beside the declared ones.
        given = [
            name
            for name in names
            if self.spec.table is None or name in self.spec.columns or nearest(name, missing)
        ]
        check_names(given, self.spec.columns, f"{shown} ({self.spec.table or self.spec.query})")
        if opened.dialect.name != "postgresql":
            return Found(names)
        return Found(names, tuple(column[1] for column in description))

    def _check_table(self, opened: Any, shown: str) -> None:
        import sqlalchemy

        schema, _, table = str(self.spec.table).rpartition(".")
        looked = sqlalchemy.inspect(opened)
        if looked.has_table(table, schema=schema or None):
            return
        names = looked.get_table_names(schema or None) + looked.get_view_names(schema or None)
        meant = nearest(table, names)
        hint = f"; did you mean {meant!r}?" if meant else ""
        raise SpecError(
            f"{shown}: no table {self.spec.table!r} in the database of connection "
            f"{self.spec.connection!r}{hint}",
            remedy="Correct `table` or the connection, or let the login see the table.",
        )

    def _check_any(self, opened: Any, origin: SqlOrigin, values: Any, shown: str) -> None:
        """No row at all is no quiet day; a query that is bound to the span cannot tell."""
        if origin.binds or opened.execute(origin.any_row(), values).first() is not None:
            return
        raise DataRejected(
            f"{shown}: {self.spec.table or self.spec.query} holds no rows at all",
            remedy="Fill it at its source, then run the window again.",
        )


def _batches(opened: Any, statement: Any, values: Any, size: int) -> Iterator[Any]:
    """The rows in lists of at most `size`, each fetched when it is asked for."""
    result = opened.execute(statement, values, execution_options={"yield_per": size})
    try:
        yield from result.partitions()
    finally:
        result.close()
