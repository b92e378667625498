"""The trials of a search as plain facts, and the rules by which a search ends."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from ferryman.spec.metrics import LOWER_IS_BETTER
from ferryman.spec.training import ParamValue, SearchSpec
from ferryman.training.search_space import grid_size

# lost: the worker died over it; it is drawn anew, and counts as failed.
TrialState = Literal["running", "complete", "pruned", "failed", "lost"]
_HOUR = 3600
_ENDED: frozenset[TrialState] = frozenset({"complete", "pruned", "failed"})


@dataclass(frozen=True)
class Trial:
    """One trial: `value` is the metric, of a pruned one the last that was seen.

    `params` are all that the search decided, a resource included; `place` is the trial's place in
    the search's own order, the same whichever worker drew it.
    """

    number: int
    place: int
    worker: int
    state: TrialState
    params: Mapping[str, ParamValue]
    value: float | None
    started: datetime | None
    ended: datetime | None
    error: str = ""

    @property
    def seconds(self) -> float | None:
        """How long it took; None while it runs."""
        if self.started is None or self.ended is None:
            return None
        return (self.ended - self.started).total_seconds()


def budget(search: SearchSpec) -> int:
    """The most trials that may finish: a grid has no more than its points."""
    return min(search.trials, grid_size(search.space)) if search.method == "grid" else search.trials


def free_place(trials: Sequence[Trial]) -> int:
    """The first place that no trial holds; a lost one holds none."""
    held = {trial.place for trial in trials if trial.state != "lost"}
    return next(place for place in range(len(held) + 1) if place not in held)


def stop_reason(
    trials: Sequence[Trial],
    search: SearchSpec,
    *,
    since: datetime | None,
    now: datetime,
    spent: float = 0.0,
) -> str:
    """Why no trial is to be drawn any more; "" while the search goes on.

    `since` is the moment of the first draw, `spent` the CPU seconds of all workers together.
    """
    held = sum(trial.state != "lost" for trial in trials)
    if held >= budget(search):
        return f"all {budget(search)} trials are drawn"
    if search.time is not None and since is not None and now - since >= search.time:
        return f"the time of {search.time} is over"
    cost = search.budget
    if cost is not None and spent >= cost.cpu_hours * _HOUR:
        return f"the budget of {cost.cpu_hours:g} CPU hours is spent ({spent / _HOUR:.3g} used)"
    lost = len(trials) - held
    failed = lost + sum(trial.state == "failed" for trial in trials)
    if failed > search.max_failed * (budget(search) + lost):  # of all that there can be
        return f"{failed} trials failed, which is too many already"
    if search.patience is not None and _since_gain(trials, search) >= search.patience:
        return f"{search.patience} trials in a row brought no gain"
    return ""


def best_trial(trials: Sequence[Trial], metric: str) -> Trial | None:
    """The complete trial with the best value, the earliest place of equal ones; None without."""
    complete = [trial for trial in trials if trial.state == "complete"]
    sign = _sign(metric)
    return min(complete, key=lambda trial: (sign * (trial.value or 0.0), trial.place), default=None)


def failed_share(trials: Sequence[Trial], search: SearchSpec, *, ended: bool) -> float:
    """The share of trials that failed or were lost; of an unfinished search, or never came."""
    failed = sum(trial.state in {"failed", "lost", "running"} for trial in trials)
    total = len(trials)
    if not ended:
        missing = budget(search) - sum(trial.state != "lost" for trial in trials)
        failed, total = failed + max(missing, 0), total + max(missing, 0)
    return failed / total if total else 1.0


def _since_gain(trials: Sequence[Trial], search: SearchSpec) -> int:
    """How many ended trials in a row, up to the newest, brought no gain above the least."""
    ended = sorted(
        (trial for trial in trials if trial.state in _ENDED and trial.ended is not None),
        key=lambda trial: (trial.ended, trial.number),
    )
    best, count, sign = math.inf, 0, _sign(search.metric)
    for trial in ended:
        value = (
            sign * trial.value if trial.state == "complete" and trial.value is not None else None
        )
        if value is not None and value < best - search.least_gain:
            best, count = value, 0
        else:
            count += 1
    return count


def _sign(metric: str) -> int:
    return 1 if metric in LOWER_IS_BETTER else -1
