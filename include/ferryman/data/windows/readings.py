"""Reads the declared sources for one window, and keeps the account of what was read and cleaned."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ferryman.data.rows.cleaning import QUARANTINE, Cleaning
from ferryman.data.rows.judgement import Judgement
from ferryman.data.sources.source import Source, SourcePart, SourceRows
from ferryman.data.versions.catalogue_entry import SourceUse
from ferryman.spec.sources import SourceSpec, describe
from ferryman.spec.windows import DAY, Window, day_window


class Readings:
    """What was read of each source for one window; a lookup table is read once."""

    def __init__(self, sources: Mapping[str, Source]) -> None:
        self.sources = sources
        self._lookups: dict[str, Any] = {}
        self._parts: dict[str, dict[SourcePart, None]] = {}
        self._queries: dict[str, str] = {}
        self._cleanings: dict[str, list[Cleaning]] = {}

    def rows(
        self,
        source: Source,
        reach: Window,
        required: Window,
        judgement: Judgement,
        *,
        counted: bool,
    ) -> Any:
        """The rows of a reach as a pyarrow Table; all of them where the source has no event time.

        `required` must be there, and `judgement` says what is judged (see Source.read); what
        cleaning did to it is taken into the account where `counted` says so.
        """
        if source.spec.event_time is None:
            if source.name not in self._lookups:
                rows = source.read(None)
                self._note(source.name, rows, counted=True)
                self._lookups[source.name] = rows.table
            return self._lookups[source.name]
        whole = _whole_days(reach)
        rows = source.read(whole, required, judgement)
        self._note(source.name, rows, counted=counted)
        return rows.table if whole == reach else between(rows.table, source.spec, reach)

    def uses(self) -> dict[str, SourceUse]:
        """The account of each source that was read."""
        return {name: self._use(name) for name in self._parts}

    def quarantine(self) -> Any:
        """Every dropped or changed row of the window, as a table of the schema QUARANTINE."""
        tables = [c.quarantine for cleanings in self._cleanings.values() for c in cleanings]
        return pa.concat_tables([QUARANTINE.empty_table(), *tables])

    def _note(self, name: str, rows: SourceRows, *, counted: bool) -> None:
        self._parts.setdefault(name, {}).update(dict.fromkeys(rows.parts))
        self._queries.setdefault(name, rows.query)
        self._cleanings.setdefault(name, [])
        if counted:
            self._cleanings[name].append(rows.cleaning)

    def _use(self, name: str) -> SourceUse:
        counts: dict[str, int] = {}
        for cleaning in self._cleanings[name]:
            for reason, count in cleaning.counts.items():
                counts[reason] = counts.get(reason, 0) + count
        parts = sorted(self._parts[name], key=lambda part: (part.name, part.sha256))
        return SourceUse(
            described=describe(self.sources[name].spec),
            query=self._queries[name],
            parts=[asdict(part) for part in parts],
            dropped=sum(cleaning.dropped for cleaning in self._cleanings[name]),
            changed=sum(cleaning.changed for cleaning in self._cleanings[name]),
            counts=counts,
        )


def between(rows: Any, spec: SourceSpec, span: Window) -> Any:
    """The rows of a typed table whose event time lies in a span."""
    times = rows.column(spec.event_time)
    edge = times.type
    return rows.filter(
        pc.and_(
            pc.greater_equal(times, pa.scalar(span.start, edge)),
            pc.less(times, pa.scalar(span.end, edge)),
        )
    )


def _whole_days(span: Window) -> Window:
    """The days (UTC) that a span touches: a day's rows are judged together, or not at all."""
    end = day_window(span.end).start
    return Window(start=day_window(span.start).start, end=end if end == span.end else end + DAY)
