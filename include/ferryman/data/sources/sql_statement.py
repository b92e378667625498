"""The one SELECT that reads a declared table or query: the rows of a span, in a fixed order."""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from ferryman.data.rows.column_types import shorten
from ferryman.errors import DataRejected, SpecError
from ferryman.spec.sources import SqlSourceSpec
from ferryman.spec.windows import Window, format_time

BOUNDS = ("start", "end")
_SHIFT = timedelta(hours=3)  # more than any clock was ever put back
_FARTHEST = timedelta(hours=15)  # more than any zone is away from UTC
_DAY = timedelta(days=1)
_HAS_DATE = "[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9][T ]*"
# PostgreSQL's numbers of types, as its wire protocol tells them.
_WITH_ZONE, _WITHOUT_ZONE, _DATE = 1184, 1114, 1082
_TEXTS = (18, 19, 25, 1042, 1043)
_WITHOUT_ORDER = (114, 142)  # json, xml
_NO_CODE = re.compile(
    r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|\$(\w*)\$.*?\$\1\$|--[^\n]*|/\*.*?\*/", re.DOTALL
)
_BIND = re.compile(r"(?<![:\w\\]):(\w+)(?!:)")


@dataclass(frozen=True)
class Found:
    """What a table or query gives: names of columns, and on PostgreSQL the numbers of types."""

    names: tuple[str, ...]
    types: tuple[int, ...] = ()

    def type_of(self, name: str) -> int | None:
        """The number of a column's type, where there is one."""
        return self.types[self.names.index(name)] if self.types else None


class SqlOrigin:
    """A declared table or query, as something to select from; values are bound, never pasted."""

    def __init__(self, spec: SqlSourceSpec, query: str | None, shown: str) -> None:
        import sqlalchemy as sa

        self._spec = spec
        self._shown = shown
        columns: list[Any] = [sa.column(name) for name in spec.columns]
        self.binds: frozenset[str] = frozenset()
        if query is None:
            schema, _, name = (spec.table or "").rpartition(".")
            self.start: Any = sa.table(name, *columns, schema=schema or None)
            return
        text = check_query(query, f"{shown}: {spec.query}")
        self.binds = frozenset(_BIND.findall(_NO_CODE.sub(" ", text)))
        self._check_binds()
        self.start = sa.text(text + "\n").columns(*columns).subquery("asked")

    def _check_binds(self) -> None:
        unknown = sorted(self.binds - set(BOUNDS))
        if unknown:
            raise SpecError(
                f"{self._shown}: {self._spec.query}: no value :{unknown[0][:60]}",
                remedy="A query may use :start and :end; write any other colon as \\:.",
            )
        if self.binds and self._spec.event_time is None:
            raise SpecError(
                f"{self._shown}: {self._spec.query} uses :{min(self.binds)}, but the source "
                "declares no event_time",
                remedy="Declare event_time, or read the whole table.",
            )

    def probe(self) -> Any:
        """A statement that gives no row, for the names of the columns."""
        import sqlalchemy as sa

        everything: Any = sa.select(sa.literal_column("*")).select_from(self.start)
        return everything.where(sa.false())

    def any_row(self) -> Any:
        """A statement that gives one row, if there is any."""
        import sqlalchemy as sa

        return sa.select(sa.literal_column("1")).select_from(self.start).limit(1)

    def rows(self, span: Window | None, found: Found, dialect: str) -> Any:
        """The declared columns of the span's rows, and of those whose time cannot be read.

        On a clock of its own (a declared zone) some rows before and after are given, too. Texts are
        ordered by their bytes, so that no language of the database changes the order.
        """
        import sqlalchemy as sa

        declared = {name: self.start.c[name] for name in self._spec.columns}
        statement = sa.select(*declared.values())
        time = self._spec.event_time
        if time is not None and span is not None:
            statement = statement.where(self._inside(declared[time], span, found, dialect))
        first = [time] if time is not None else []
        for name in dict.fromkeys([*first, *self._spec.key, *declared]):
            kind = found.type_of(name)
            if kind in _TEXTS:
                statement = statement.order_by(sa.collate(declared[name], "C"))
            elif kind not in _WITHOUT_ORDER:
                statement = statement.order_by(declared[name])
        return statement

    def values(self, span: Window | None, dialect: str) -> dict[str, datetime | str]:
        """The edges that the declared query asks for: times, or on SQLite ISO 8601 with a Z."""
        if span is None:
            return {}
        edges = {"start": span.start, "end": span.end}
        return {
            name: format_time(edges[name]) if dialect == "sqlite" else edges[name]
            for name in sorted(self.binds)
        }

    def _inside(self, column: Any, span: Window, found: Found, dialect: str) -> Any:
        import sqlalchemy as sa

        if dialect == "sqlite":
            return _inside_texts(column, span, self._zone())
        naive = self._is_naive(found)
        start, end = _on_clock(span, self._zone()) if naive else (span.start, span.end)
        kind = sa.DateTime(timezone=not naive)
        return sa.or_(
            sa.and_(column >= sa.literal(start, kind), column < sa.literal(end, kind)),
            column.is_(None),
        )

    def _zone(self) -> str | None:
        time = self._spec.event_time
        return self._spec.columns[time].zone if time is not None else None

    def _is_naive(self, found: Found) -> bool:
        """Whether the time column holds no zone; DataRejected (exit 3) where none is declared."""
        name = str(self._spec.event_time)
        kind = found.type_of(name)
        if kind == _WITH_ZONE:
            return False
        if kind not in (None, _WITHOUT_ZONE, _DATE):
            raise DataRejected(
                f"{self._shown}: column {name!r} is stored as something else than a time",
                remedy="Cast it in a query of your own: declare `query` instead of `table`.",
            )
        if kind == _WITHOUT_ZONE and self._zone() is None:
            raise DataRejected(
                f"{self._shown}: column {name!r} is stored without a time zone",
                remedy=f"Declare its zone: {name}: {{type: timestamp, zone: Europe/Rome}}.",
            )
        return self._zone() is not None


def check_query(text: str, shown: str) -> str:
    """A file's one SELECT without its last semicolon; SpecError (exit 2) for anything else."""
    code = _NO_CODE.sub(lambda match: " " * len(match.group()), text)
    end = code.rstrip()
    if end.endswith(";"):
        cut = len(end) - 1
        text, code = text[:cut], code[:cut]
    first = re.match(r"[\s(]*(\w*)", code)
    word = first.group(1).upper() if first else ""
    if word not in ("SELECT", "WITH", "VALUES"):
        raise SpecError(f"{shown}: begins with {shorten(word)}, not with SELECT")
    if ";" in code:
        raise SpecError(f"{shown}: holds more than one statement", remedy="Keep one SELECT.")
    depth = 0
    for mark in re.findall(r"[()]", code):
        depth += 1 if mark == "(" else -1
        if depth < 0:
            raise SpecError(f"{shown}: closes a bracket that was never opened")
    return text


def _on_clock(span: Window, zone: str | None) -> tuple[datetime, datetime]:
    """The span on a zone's clock, widened by what that clock may have been moved."""
    clock = ZoneInfo(zone or "UTC")
    start, end = (edge.astimezone(clock).replace(tzinfo=None) for edge in (span.start, span.end))
    return start - _SHIFT, end + _SHIFT


def _inside_texts(column: Any, span: Window, zone: str | None) -> Any:
    """SQLite keeps times as texts: chosen by their day, then by SQLite's own reading of them.

    What is no such text is chosen as well: it has to be judged, not overlooked.
    """
    import sqlalchemy as sa

    slack = timedelta(seconds=1) if zone is None else _FARTHEST
    seconds = sa.cast(sa.func.strftime("%s", column), sa.Integer)
    first, last = (span.start - slack).timestamp(), (span.end + slack).timestamp()
    near = sa.and_(
        column >= f"{span.start - _DAY:%Y-%m-%d}",
        column < f"{span.end + 2 * _DAY:%Y-%m-%d}",
        sa.or_(seconds.between(int(first), int(last)), seconds.is_(None)),
    )
    readable = sa.and_(sa.func.typeof(column) == "text", column.op("GLOB")(_HAS_DATE))
    return sa.or_(near, column.is_(None), sa.not_(readable))
