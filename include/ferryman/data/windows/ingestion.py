"""Makes one window's features and labels from the declared sources; writes nothing."""

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa

from ferryman.data.sources.source import Source
from ferryman.data.versions.catalogue_entry import SnapshotEntry, SourceUse
from ferryman.data.windows.features import Features, build_features
from ferryman.data.windows.labels import build_labels, label_schema
from ferryman.data.windows.profile import profile_table
from ferryman.data.windows.query import QueryEngine
from ferryman.data.windows.readings import Readings
from ferryman.data.windows.replay_calendar import ReplayedSpan, replayed_spans
from ferryman.data.windows.views import feature_views, label_views, withheld_columns
from ferryman.spec.model import DeclaredModel
from ferryman.spec.windows import Window

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class IngestedWindow:
    """A window's two tables (pyarrow), and what they were made from.

    `quarantine` is a pyarrow Table of the schema QUARANTINE; `late` tells which values became known
    after their events, where that was accepted.
    """

    window: Window
    features: Any
    labels: Any
    sources: Mapping[str, SourceUse]
    quarantine: Any
    read_window: Window | None
    late: tuple[str, ...] = ()


class Ingestion:
    """Builds windows of one model; files that neighbouring windows share are checked once.

    `accepted` is a person's reason to let in feature values that became known after their event.
    """

    def __init__(
        self,
        model: DeclaredModel,
        sources: Mapping[str, Source],
        engine: QueryEngine,
        *,
        accepted: str | None = None,
    ) -> None:
        self._engine = engine
        self._model = model
        self._sources = sources
        self._accepted = accepted
        self._later = withheld_columns(sources)

    def build(self, window: Window) -> IngestedWindow:
        """The features of the window's events, and the labels that became known in it.

        Raises DataRejected (exit 3) where the data is not what was declared, SpecError (exit 2)
        where a query is wrong, GateRefused (exit 4) where a value was known too late.
        """
        data = self._model.spec.data
        readings = Readings(self._sources)
        spans = replayed_spans(window, data.replay)
        features = [self._features(span, readings) for span in spans]
        due = window.shifted(-data.label.known_after)
        # A day of the replayed year has its real past, not the same days of that year again.
        lived = data.replay is not None and window.start.year == data.replay.year
        labels = [
            self._labels(span, spans[0].read, readings)
            for span in replayed_spans(due, None if lived else data.replay)
        ]
        return IngestedWindow(
            window=window,
            features=pa.concat_tables([made.table for made in features]),
            labels=pa.concat_tables(labels),
            sources=readings.uses(),
            quarantine=readings.quarantine(),
            read_window=spans[0].read if spans[0].shift else None,
            late=tuple(text for made in features for text in made.late),
        )

    def entry(
        self,
        built: IngestedWindow,
        *,
        reason: str,
        actor: str,
        code: str,
        parents: list[str],
    ) -> SnapshotEntry:
        """The catalogue entry of a built window."""
        spec = self._model.spec
        names = [spec.features.sql, *filter(None, [spec.data.label.sql])]
        return SnapshotEntry(
            reason=reason,
            actor=actor,
            sources=dict(built.sources),
            queries={name: _digest(self._model.folder / name) for name in names},
            read_window=built.read_window,
            profile=profile_table(built.features, spec.features.columns),
            spec_digest=self._model.digest,
            code_version=code,
            overrides=[f"{text}; accepted by {actor}: {self._accepted}" for text in built.late],
            parents=parents,
        )

    def _features(self, span: ReplayedSpan, readings: Readings) -> Features:
        known_after: timedelta = self._model.spec.data.label.known_after
        return build_features(
            self._engine,
            self._model,
            feature_views(readings, span.read, known_after),
            self._later,
            span,
            accept_late=self._accepted is not None,
        )

    def _labels(self, span: ReplayedSpan, window: Window, readings: Readings) -> Any:
        task, views = self._model.spec.train.task, label_views(readings, span.read, window)
        if self._model.spec.data.label.sql is None:
            return label_schema(task).empty_table()
        if all(table.num_rows == 0 for name, table in views.items() if name in self._outcomes()):
            logger.info("%s: no events in %s, so no labels", self._model.name, span.read)
            return label_schema(task).empty_table()
        return build_labels(self._engine, self._model, views, span)

    def _outcomes(self) -> set[str]:
        return set(self._later.values())


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
