"""A model's nights, one after the other, through the very comparisons that `monitor` makes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.drift_alarms.made_nights import COLUMNS, START, Day
from ferryman.monitoring.drift_concept import Residuals
from ferryman.monitoring.drift_findings import Finding, Night, judge, remember
from ferryman.monitoring.drift_night import (
    QUIET,
    SCORE,
    compare_columns,
    compare_concept,
    compare_joint,
    compare_scores,
    first_scores,
)
from ferryman.monitoring.drift_units import compare_units
from ferryman.profiles.column_profile import Profile, profile_json, read_profile
from ferryman.profiles.comparison import named_in
from ferryman.profiles.day_profiles import merged, profile_days
from ferryman.profiles.trained_days import read_days, with_days
from ferryman.spec.data import FeatureSpec
from ferryman.spec.monitoring import DriftSpec
from ferryman.spec.windows import Window

_HELD = 8  # days whose rows are needed
_KEPT = 36  # days whose profiles are


@dataclass
class Life:
    """A champion's nights: its training profile, and what was logged since."""

    stored: dict[str, Any]
    spec: DriftSpec = field(default_factory=DriftSpec)
    columns: Mapping[str, FeatureSpec] = field(default_factory=lambda: COLUMNS)
    joint: bool = True
    nights: list[Night] = field(default_factory=list)
    _profiles: dict[str, Profile] = field(default_factory=dict)
    _scores: dict[str, Profile] = field(default_factory=dict)
    _tables: list[Any] = field(default_factory=list)
    _residuals: list[Residuals] = field(default_factory=list)

    def live(self, day: Day, window: Window) -> list[Finding]:
        """The findings of the night that ends a day."""
        self._log(day, window)
        first = first_scores(self.nights, 1, window.end - self.spec.window)
        _, compared = compare_columns(
            read_profile(self.stored),
            self._profiles,
            self.columns,
            window,
            self.spec,
            trained=read_days(self.stored),
        )
        reference = read_profile(self.stored)
        compared += compare_units(reference, self._profiles, self.columns, window, self.spec)
        compared += compare_scores(first, self._scores, window, self.spec)
        if self.joint and len(self._tables) > 1:
            earlier = pa.concat_tables(self._tables[:-1])
            compared.append(compare_joint(self._tables[-1], earlier, self.columns, self.spec))
        if self._residuals:
            compared += compare_concept(_together(self._residuals), window, self.spec)
        found = judge(compared, self.nights, self.spec, start=window.start, version=1)
        key = f"{window.start:%Y-%m-%d}"
        scores = profile_json(self._scores[key]) if key in self._scores else None
        span = (window.start, window.end)
        self.nights.append(remember(compared, found, span=span, version=1, scores=scores))
        return found

    def parted(self) -> "Life":
        """The same life up to now; what comes is each one's own."""
        return replace(
            self,
            nights=list(self.nights),
            _profiles=dict(self._profiles),
            _scores=dict(self._scores),
            _tables=list(self._tables),
            _residuals=list(self._residuals),
        )

    def _log(self, day: Day, window: Window) -> None:
        self._profiles |= profile_days(day.table, self.columns, named_in(read_profile(self.stored)))
        self._tables = [*self._tables, day.table][-_HELD:]
        if len(day.scores):
            times = day.table["event_time"]
            scored = pa.table({"event_time": times, "score": pa.array(day.scores)})
            self._scores |= profile_days(scored, SCORE)
            days = np.full(len(day.scores), np.datetime64(window.start.date(), "D").astype(int))
            left = day.labels.astype(float) - day.scores
            kept = int(QUIET.days + self.spec.window.days)
            self._residuals = [*self._residuals, Residuals(days, day.scores, left)][-kept:]
        for held in (self._profiles, self._scores):
            for old in sorted(held)[:-_KEPT]:
                del held[old]


def train(days: int, draw: Callable[[], Any]) -> dict[str, Any]:
    """What a bundle keeps of training data: profiles, and how its days differ."""
    return reference_of([profile_days(draw().table, COLUMNS) for _ in range(days)])


def reference_of(days: list[dict[str, Profile]]) -> dict[str, Any]:
    """The same of profiles of days."""
    profiles = [profile for day in days for profile in day.values()]
    return with_days(profile_json(merged(profiles)), profiles)


def night(place: int) -> Window:
    """The window of the day at a place, from 0."""
    start = START + timedelta(days=place)
    return Window(start=start, end=start + timedelta(days=1))


def _together(parts: list[Residuals]) -> Residuals:
    return Residuals(
        np.concatenate([part.days for part in parts]),
        np.concatenate([part.scores for part in parts]),
        np.concatenate([part.residuals for part in parts]),
    )
