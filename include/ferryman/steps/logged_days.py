"""The days of the prediction log that drift is told from; only days with new files are read."""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cached_property

import orjson

from ferryman.monitoring.logged_days import (
    SCORE,
    LoggedDay,
    LoggedDays,
    LoggedDayStore,
    Names,
    Sources,
    summarise,
)
from ferryman.runtime.object_store import ObjectStore
from ferryman.runtime.prediction_places import prediction_places
from ferryman.serving.log.prediction_log import COMPACT, file_name, open_table, sources_of
from ferryman.spec.data import FeatureSpec
from ferryman.spec.windows import DAY, Window
from ferryman.steps.contract import StepContext
from ferryman.steps.drift_residuals import single_score
from ferryman.steps.logged_answers import logged_answers

_FORM = 1  # of what is remembered
_SAMPLE = 1500
_FORGOTTEN = timedelta(days=7)  # before the span: an older window may be looked at again


def logged_days(  # noqa: PLR0913  - which rows, and how they are told
    context: StepContext,
    span: Window,
    columns: Mapping[str, FeatureSpec],
    named: Names,
    *,
    least: int = 0,
    remember: bool = True,
) -> LoggedDays:
    """The days of a span of event time; a day that is not all in it has its rows in the span alone.

    named: categories by column that are counted by name (profiles.comparison.named_in). least: rows
    that samples have at least, where there are so many. Without `remember` all rows are read, and
    nothing is remembered, as in a backfill: what was known at another time is not what the files
    hold. Raises what reading the log does.
    """
    most, remember = max(_SAMPLE, least), remember and not context.restates
    store = LoggedDayStore(
        context.monitoring_root, context.model.name, _kind(context, columns, most)
    )
    places = prediction_places(context.settings, context.connections)
    found = []
    for part in _days(span):
        day = f"{part.start:%Y-%m-%d}"
        if not remember or part.end - part.start < DAY:
            one = _summary(context, part, columns, named, most)
        else:
            files = _Files(places, context.model.name, day)
            known = store.read(day, named)
            same = known is not None and files.are_those_of(known.sources)
            one = known.day if known and same else _summary(context, part, columns, named, most)
            if not (known and same and known.sources.names == files.names):
                store.write(one, files.sources(), named)
        found += [one] if one.versions else []
    if remember:
        store.forget(f"{span.start - _FORGOTTEN:%Y-%m-%d}")
    return LoggedDays(found, list(columns), named)


class _Files:
    """The files that hold a day's rows now."""

    def __init__(self, places: Sequence[ObjectStore], model: str, day: str) -> None:
        prefix = f"{model}/date={day}"
        keys = {key: place for place in places for key in place.keys(prefix)}
        self._keys = {key: place for key, place in keys.items() if key.endswith(".parquet")}
        self.names = frozenset(map(file_name, self._keys))

    @cached_property
    def _replaced(self) -> dict[str, frozenset[str]]:
        """What each merged file took the place of."""
        found = {}
        for key, place in self._keys.items():
            if COMPACT in key:
                table = open_table(place, key, [])
                found[file_name(key)] = frozenset(sources_of(table.schema) if table else ())
        return found

    def sources(self) -> Sources:
        """To be remembered with what was read."""
        return Sources(self.names, self.names.union(*self._replaced.values()))

    def are_those_of(self, known: Sources) -> bool:
        """Whether the rows are still those that were read: merged since perhaps, but no others."""
        if self.names == known.names:
            return True
        gone = frozenset[str]().union(*self._replaced.values())
        lost = known.names - gone - self.names
        new = self.names - gone - known.all
        return not lost and all(
            name in self._replaced and self._replaced[name] <= known.all for name in new
        )


def _summary(
    context: StepContext,
    part: Window,
    columns: Mapping[str, FeatureSpec],
    named: Names,
    most: int,
) -> LoggedDay:
    table = logged_answers(context, part, list(columns))
    place = table.schema.get_field_index(SCORE)
    table = table.set_column(place, SCORE, single_score(table[SCORE]))
    return summarise(f"{part.start:%Y-%m-%d}", table, columns, named, most)


def _kind(context: StepContext, columns: Mapping[str, FeatureSpec], most: int) -> str:
    """What else a day's figures depend on."""
    train = context.spec.train
    types = {name: spec.type for name, spec in columns.items()}
    told = orjson.dumps([_FORM, types, train.task, list(train.classes), most])
    return hashlib.sha256(told).hexdigest()[:16]


def _days(span: Window) -> list[Window]:
    """The span, cut at midnights UTC."""
    start, found = span.start, []
    while start < span.end:
        midnight = datetime(start.year, start.month, start.day, tzinfo=UTC) + DAY
        found.append(Window(start=start, end=min(midnight, span.end)))
        start = midnight
    return found
