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
from datetime import timedelta
from typing import Any

from ferryman.data.rows.judgement import Judgement, later_columns
from ferryman.data.sources.source import Source
from ferryman.data.windows.readings import Readings, between
from ferryman.errors import DataRejected
from ferryman.spec.sources import SourceSpec
from ferryman.spec.windows import Window

HISTORY = "_history"


def withheld_columns(sources: Mapping[str, Source]) -> dict[str, str]:
    """Every withheld column with the name of its source."""
    return {
        column: name for name, source in sources.items() for column in later_columns(source.spec)
    }


def feature_views(readings: Readings, span: Window, known_after: timedelta) -> dict[str, Any]:
    """The views of the features query for a span: tables by name.

    Raises DataRejected (exit 3) where a source with `later` columns has no row in the span.
    """
    tables = {}
    for name, source in readings.sources.items():
        later = later_columns(source.spec)
        judgement = Judgement(span)
        rows = readings.rows(source, _reach(source.spec, span), span, judgement, counted=True)
        if not later:
            tables[name] = rows
            continue
        inside = between(rows, source.spec, span)
        if inside.num_rows == 0:
            raise DataRejected(
                f"source {name!r} has no row in {span}",
                remedy="Deliver the window's rows, or choose a window that has some.",
            )
        tables[name] = inside.drop_columns(later)
        if source.spec.lookback is not None:
            known = Window(start=span.start - source.spec.lookback, end=span.start)
            tables[name + HISTORY] = _known_before(rows, source.spec, known, known_after)
    return tables


def label_views(readings: Readings, span: Window, window: Window) -> dict[str, Any]:
    """The views of the labels query for the span whose labels are due: tables by name.

    A source with `later` columns gives the span's rows, whose files may lie before the first; its
    outcomes are judged and counted now that they are known. Nothing else is counted: each row was,
    with the features of its own window. `window` is the one whose features were read.
    """
    tables = {}
    for name, source in readings.sources.items():
        if later_columns(source.spec):
            judgement = Judgement(span, outcomes=True)
            tables[name] = readings.rows(source, span, window, judgement, counted=True)
        else:
            reach = _reach(source.spec, span)
            tables[name] = readings.rows(source, reach, window, Judgement(window), counted=False)
    return tables


def _reach(spec: SourceSpec, span: Window) -> Window:
    """The span and what the source may look back to."""
    return Window(start=span.start - (spec.lookback or timedelta()), end=span.end)


def _known_before(rows: Any, spec: SourceSpec, past: Window, known_after: timedelta) -> Any:
    """Past rows whose outcome was known at the end of `past`, all columns."""
    known = past.end - known_after + timedelta(microseconds=1)  # known exactly then counts
    if known <= past.start:
        return rows.slice(0, 0)
    return between(rows, spec, Window(start=past.start, end=min(known, past.end)))
