"""Logs the trials of a search as they end, in batches."""

import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Literal

from ferryman.registry.tracking import TrackedTrial, Tracker
from ferryman.training.search_trials import Trial, TrialState

# Trials are logged when so many have ended, or so many seconds after the last ones.
_BATCH, _SECONDS = 20, 5.0

_STATUS: Mapping[TrialState, Literal["FINISHED", "FAILED", "KILLED"]] = {
    "complete": "FINISHED",
    "pruned": "FINISHED",
    "failed": "FAILED",
    "lost": "KILLED",
}


class TrialLog:
    """Gathers ended trials, so that a search waits for the tracker seldom."""

    def __init__(self, tracker: Tracker, parent: str, metric: str) -> None:
        """`parent` is the tracked run of the search."""
        self._tracker = tracker
        self._parent = parent
        self._metric = metric
        self._waiting: list[Trial] = []
        self._logged_at = time.monotonic()

    def add(self, trial: Trial) -> None:
        """Log a trial, sooner or later."""
        self._waiting.append(trial)
        if len(self._waiting) >= _BATCH or time.monotonic() - self._logged_at >= _SECONDS:
            self.flush()

    def add_all(self, trials: Iterable[Trial]) -> None:
        """Log those that have ended with the next batch."""
        self._waiting += [trial for trial in trials if trial.state in _STATUS]

    def flush(self) -> None:
        """Log what waits."""
        if self._waiting:
            self._tracker.log_trials(self._parent, tracked_trials(self._waiting, self._metric))
        self._waiting, self._logged_at = [], time.monotonic()


def tracked_trials(trials: Sequence[Trial], metric: str) -> list[TrackedTrial]:
    """Ended trials as the tracker keeps them."""
    now = datetime.now(UTC)
    return [
        TrackedTrial(
            number=trial.number,
            status=_STATUS[trial.state],
            started=trial.started or now,
            ended=trial.ended or now,
            params=trial.params,
            metrics={metric: trial.value, "seconds": trial.seconds},
            tags={
                "ferryman.trial_state": trial.state,
                "ferryman.worker": str(trial.worker),
                **({"ferryman.error": trial.error} if trial.error else {}),
            },
        )
        for trial in trials
        if trial.state in _STATUS
    ]
