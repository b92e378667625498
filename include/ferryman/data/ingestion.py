"""Makes one window's features and labels from the declared sources; writes nothing."""

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa

from ferryman.data.features import build_features
from ferryman.data.labels import SCHEMA, build_labels
from ferryman.data.profile import profile_table
from ferryman.data.query import QueryEngine
from ferryman.data.replay_calendar import ReplayedSpan, replayed_spans
from ferryman.data.snapshots import SnapshotEntry, SourceUse
from ferryman.data.source import Source, SourcePart
from ferryman.data.views import Views, feature_views, label_views, withheld_columns
from ferryman.spec.model import DeclaredModel
from ferryman.spec.windows import Window

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class IngestedWindow:
    """A window's two tables (pyarrow), and what they were made from."""

    window: Window
    features: Any
    labels: Any
    sources: Mapping[str, SourceUse]
    read_window: Window | None


@dataclass
class _Uses:
    files: dict[str, dict[str, SourcePart]] = field(default_factory=dict)
    dropped: dict[str, int] = field(default_factory=dict)

    def add(self, views: Views) -> None:
        for name, files in views.files.items():
            self.files.setdefault(name, {}).update({file.name: file for file in files})
        for name, count in views.dropped.items():
            self.dropped[name] = max(self.dropped.get(name, 0), count)

    def finish(self) -> dict[str, SourceUse]:
        return {
            name: SourceUse(
                parts=[asdict(files[path]) for path in sorted(files)], dropped=self.dropped[name]
            )
            for name, files in self.files.items()
        }


class Ingestion:
    """Builds windows of one model; files that neighbouring windows share are checked once."""

    def __init__(
        self, model: DeclaredModel, sources: Mapping[str, Source], engine: QueryEngine
    ) -> None:
        self._engine = engine
        self._model = model
        self._sources = sources
        self._later = withheld_columns(sources)

    def build(self, window: Window) -> IngestedWindow:
        """The features of the window's events, and the labels that became known in it.

        Raises DataRejected (exit 3) where the data is not what was declared, SpecError (exit 2)
        where a query is wrong.
        """
        data = self._model.spec.data
        uses = _Uses()
        spans = replayed_spans(window, data.replay)
        features = pa.concat_tables([self._features(span, uses) for span in spans])
        due = window.shifted(-data.label.known_after)
        # A day of the replayed year has its real past, not the same days of that year again.
        lived = data.replay is not None and window.start.year == data.replay.year
        tables = [
            self._labels(s, uses) for s in replayed_spans(due, None if lived else data.replay)
        ]
        labels = pa.concat_tables(tables)
        replayed = bool(spans[0].shift)
        return IngestedWindow(
            window=window,
            features=features,
            labels=labels,
            sources=uses.finish(),
            read_window=spans[0].read if replayed else None,
        )

    def entry(
        self, built: IngestedWindow, *, reason: str, actor: str, code: str, parents: list[str]
    ) -> SnapshotEntry:
        """The catalogue entry of a built window."""
        spec = self._model.spec
        names = (spec.features.sql, spec.data.label.sql)
        return SnapshotEntry(
            reason=reason,
            actor=actor,
            sources=dict(built.sources),
            queries={name: _digest(self._model.folder / name) for name in names},
            read_window=built.read_window,
            profile=profile_table(built.features, spec.features.columns),
            spec_digest=self._model.digest,
            code_version=code,
            parents=parents,
        )

    def _features(self, span: ReplayedSpan, uses: _Uses) -> Any:
        known_after: timedelta = self._model.spec.data.label.known_after
        views = feature_views(self._sources, span.read, known_after)
        uses.add(views)
        return build_features(self._engine, self._model, views.tables, self._later, span)

    def _labels(self, span: ReplayedSpan, uses: _Uses) -> Any:
        views = label_views(self._sources, span.read)
        uses.add(views)
        if all(
            table.num_rows == 0 for name, table in views.tables.items() if name in self._outcomes()
        ):
            logger.info("%s: no events in %s, so no labels", self._model.name, span.read)
            return SCHEMA.empty_table()
        return build_labels(self._engine, self._model, views.tables, span)

    def _outcomes(self) -> set[str]:
        return set(self._later.values())


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
