"""What the queries of a model may see of its sources: here the future is kept out.

Of a span [start, end), the features query sees
- of a source without event time: all of it;
- of a source with `later` columns: its rows of the span, without those columns; and as
  `<name>_history`, where it declares a lookback, its rows since start - lookback whose outcome was
  known at the start (event time + label.known_after <= start), with all columns;
- of any other source: its rows of [start - lookback, end).
The labels query sees the same of the span whose labels are due, and every column.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ferryman.data.source import Source, SourcePart
from ferryman.errors import DataRejected
from ferryman.spec.sources import SourceSpec
from ferryman.spec.windows import Window

HISTORY = "_history"


@dataclass(frozen=True)
class Views:
    """Tables by view name; the files that they came from, by source; rows dropped, by source."""

    tables: Mapping[str, Any]
    files: Mapping[str, tuple[SourcePart, ...]]
    dropped: Mapping[str, int]


def later_columns(spec: SourceSpec) -> list[str]:
    """The columns that are known only after the event."""
    return [name for name, column in spec.columns.items() if column.known == "later"]


def withheld_columns(sources: Mapping[str, Source]) -> dict[str, str]:
    """Every withheld column with the name of its source."""
    return {
        column: name for name, source in sources.items() for column in later_columns(source.spec)
    }


def feature_views(sources: Mapping[str, Source], span: Window, known_after: timedelta) -> Views:
    """The views of the features query for a span.

    Raises DataRejected (exit 3) where a source with `later` columns has no row in the span.
    """
    views = _Collected()
    for name, source in sources.items():
        later = later_columns(source.spec)
        rows = views.read(source, _reach(source.spec, span), span)
        if not later:
            views.tables[name] = rows
            continue
        inside = _between(rows, source.spec, span)
        if inside.num_rows == 0:
            raise DataRejected(
                f"source {name!r} has no row in {span}",
                remedy="Deliver the window's rows, or choose a window that has some.",
            )
        views.tables[name] = inside.drop_columns(later)
        if source.spec.lookback is not None:
            known = Window(start=span.start - source.spec.lookback, end=span.start)
            views.tables[name + HISTORY] = _known_before(rows, source.spec, known, known_after)
    return views.finish()


def label_views(sources: Mapping[str, Source], span: Window) -> Views:
    """The views of the labels query for the span whose labels are due.

    A source with `later` columns gives the span's rows, whose files may lie before the first.
    """
    views = _Collected()
    for name, source in sources.items():
        holds_outcomes = bool(later_columns(source.spec))
        reach = span if holds_outcomes else _reach(source.spec, span)
        views.tables[name] = views.read(source, reach, None)
    return views.finish()


class _Collected:
    def __init__(self) -> None:
        self.tables: dict[str, Any] = {}
        self._files: dict[str, tuple[SourcePart, ...]] = {}
        self._dropped: dict[str, int] = {}

    def read(self, source: Source, reach: Window, required: Window | None) -> Any:
        lookup = source.spec.event_time is None
        rows = source.read(None if lookup else reach, None if lookup else required)
        self._files[source.name] = rows.parts
        self._dropped[source.name] = rows.cleaning.dropped
        return rows.table

    def finish(self) -> Views:
        return Views(tables=self.tables, files=self._files, dropped=self._dropped)


def _reach(spec: SourceSpec, span: Window) -> Window:
    """The span and what the source may look back to."""
    return Window(start=span.start - (spec.lookback or timedelta()), end=span.end)


def _between(rows: Any, spec: SourceSpec, span: Window) -> Any:
    times = rows.column(spec.event_time)
    edge = times.type
    return rows.filter(
        pc.and_(
            pc.greater_equal(times, pa.scalar(span.start, edge)),
            pc.less(times, pa.scalar(span.end, edge)),
        )
    )


def _known_before(rows: Any, spec: SourceSpec, past: Window, known_after: timedelta) -> Any:
    """Past rows whose outcome was known at the end of `past`, all columns."""
    known = past.end - known_after + timedelta(microseconds=1)  # known exactly then counts
    if known <= past.start:
        return rows.slice(0, 0)
    return _between(rows, spec, Window(start=past.start, end=min(known, past.end)))
