"""One search, shared by all its workers: draws trials, and knows what became of each.

Every decision is made under one lock: no point of a grid is drawn twice and no trial above the
budget. A worker holds a lock of its own while it lives; where that is free, its open trial is lost.
"""

import hashlib
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ferryman.errors import IntegrityBroken, LostRace
from ferryman.spec.metrics import LOWER_IS_BETTER
from ferryman.spec.training import ParamValue, SearchSpec
from ferryman.training.search_evolution import ScoredPoint, evolve
from ferryman.training.search_journal import JOURNAL, held, open_journal, try_hold
from ferryman.training.search_meter import metered, spent_seconds
from ferryman.training.search_space import distributions, grid_point
from ferryman.training.search_trials import Trial, TrialState, budget, free_place, stop_reason

if TYPE_CHECKING:
    import optuna

logger = logging.getLogger(__name__)

_NAME = "search"
_STARTUP_TRIALS = 10  # drawn at random before TPE has something to learn from


class SearchStudy:
    """The trials of one search, in a folder that all workers see."""

    def __init__(self, folder: Path, search: SearchSpec, seed: int) -> None:
        """Open the search, or make it; whoever comes first makes it.

        The values of the trials must have been drawn from this space with this seed.
        """
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._folder = folder
        self._search = search
        self._seed = seed
        folder.mkdir(parents=True, exist_ok=True)
        with self._deciding():
            (folder / JOURNAL).touch()
            try:
                storage = open_journal(folder)
            except (ValueError, KeyError) as error:
                raise IntegrityBroken(f"{folder / JOURNAL}: not readable: {error}") from error
            lower = search.metric in LOWER_IS_BETTER
            self._study = optuna.create_study(
                study_name=_NAME,
                storage=storage,
                direction="minimize" if lower else "maximize",
                pruner=_pruner(search),
                load_if_exists=True,
            )

    @contextmanager
    def worker(self, index: int) -> Iterator[None]:
        """Be this worker; what an earlier one of the same number left open is lost.

        Raises LostRace (exit 8) where another process is this worker.
        """
        with self._deciding():
            lock = try_hold(self._lock_of(index))
            if lock is None:
                raise LostRace(
                    f"worker {index} of this search runs already",
                    remedy="Wait for it, or end it; then run again.",
                )
            self._lose(own=index)
        with lock, metered(self._folder, index):
            yield

    def draw(self, worker: int) -> "optuna.trial.Trial | str":
        """The next trial, its parameters chosen; or why there is none any more."""
        with self._deciding():
            self._lose(own=None)
            trials, now = self.trials(), datetime.now(UTC)
            since = self._study.user_attrs.get("first_draw")
            if since is None:
                self._study.set_user_attr("first_draw", now.isoformat())
                since = now.isoformat()
            reason = stop_reason(
                trials,
                self._search,
                since=datetime.fromisoformat(since),
                now=now,
                spent=self.spent(),
            )
            return reason or self._ask(worker, free_place(trials))

    def tell(self, trial: "optuna.trial.Trial", value: float | None, error: str = "") -> Trial:
        """Record the end of a trial: its value, or none where it was pruned or failed."""
        from optuna.trial import TrialState as State

        if error:
            trial.set_user_attr("error", error[:1000])
        pruned = State.PRUNED if value is None and not error else State.COMPLETE
        frozen = self._study.tell(
            trial, values=None if error else value, state=State.FAIL if error else pruned
        )
        return _facts(frozen, self._search)

    def lose_dead(self) -> None:
        """Mark the open trials of workers that are gone as lost."""
        with self._deciding():
            self._lose(own=None)

    def trials(self) -> list[Trial]:
        """All trials drawn so far, in the order of their numbers."""
        frozen = self._study.get_trials(deepcopy=False)
        return [_facts(trial, self._search) for trial in frozen if trial.state.name != "WAITING"]

    def stopped(self) -> str:
        """Why no further trial is drawn; "" while some are missing."""
        since = self._study.user_attrs.get("first_draw")
        moment = datetime.fromisoformat(since) if since else None
        return stop_reason(
            self.trials(), self._search, since=moment, now=datetime.now(UTC), spent=self.spent()
        )

    def spent(self) -> float:
        """CPU seconds that all workers have used; of a killed one, all but its last second."""
        return spent_seconds(self._folder)

    def rungs(self) -> list[int]:
        """The growing resources that a trial is fitted with; empty for methods without one."""
        resource = self._search.resource
        if resource is None:
            return []
        rungs = [resource.min]
        while rungs[-1] * resource.factor < resource.max:
            rungs.append(rungs[-1] * resource.factor)
        return [*rungs, resource.max]

    def _ask(self, worker: int, place: int) -> "optuna.trial.Trial":
        # Killed between two lines here, a trial waits to be asked for, or is open without a
        # worker and so lost.
        waiting = any(
            trial.state.name == "WAITING" for trial in self._study.get_trials(deepcopy=False)
        )
        seed = _draw_seed(self._seed, place)
        self._study.sampler = _sampler(self._search, seed)
        if not waiting:
            self._enqueue(place, seed)
        trial = self._study.ask(distributions(self._search.space))
        if "place" not in trial.user_attrs:
            trial.set_user_attr("place", place)
        trial.set_user_attr("worker", worker)
        return trial

    def _enqueue(self, place: int, seed: int) -> None:
        """Put the point in the queue where it is not Optuna's sampler that finds it."""
        space = self._search.space
        if self._search.method == "grid":
            point = grid_point(space, place)
            self._study.enqueue_trial(dict(point), user_attrs={"place": place})
        if self._search.method == "cma_es":
            evolved = evolve(space, self._scored(), seed)
            attributes = {
                "place": place, "unit": list(evolved.unit), "generation": evolved.generation,
            }  # fmt: skip
            self._study.enqueue_trial(dict(evolved.params), user_attrs=attributes)

    def _scored(self) -> list[ScoredPoint]:
        sign = 1 if self._search.metric in LOWER_IS_BETTER else -1
        return [
            ScoredPoint(
                trial.number,
                tuple(trial.user_attrs["unit"]),
                int(trial.user_attrs["generation"]),
                sign * float(trial.values[0]),
            )
            for trial in self._study.get_trials(deepcopy=False)
            if trial.state.name == "COMPLETE"
        ]

    def _lose(self, own: int | None) -> None:
        """Mark open trials as lost whose worker is gone; `own` just began, so it has none yet."""
        from optuna.trial import TrialState as State

        alive: dict[int, bool] = {}
        for trial in self._study.get_trials(deepcopy=False, states=(State.RUNNING,)):
            worker = int(trial.user_attrs.get("worker", -1))
            if worker not in alive:
                alive[worker] = worker not in (own, -1) and self._lives(worker)
            if not alive[worker]:
                logger.warning("trial %d is lost: worker %d is gone", trial.number, worker)
                self._study.tell(trial.number, state=State.FAIL)

    def _lives(self, worker: int) -> bool:
        lock = try_hold(self._lock_of(worker))
        if lock is not None:
            lock.close()
        return lock is None

    def _lock_of(self, worker: int) -> Path:
        return self._folder / f".worker-{worker}.lock"

    @contextmanager
    def _deciding(self) -> Iterator[None]:
        with held(self._folder / ".draw.lock"):
            yield


def _draw_seed(seed: int, place: int) -> int:
    """The seed of one draw: it follows from the place, not from who draws or how often."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{place}".encode()).digest()[:4], "big")


def _sampler(search: SearchSpec, seed: int) -> "optuna.samplers.BaseSampler":
    import optuna

    if search.method in ("tpe", "halving", "hyperband"):
        return optuna.samplers.TPESampler(seed=seed, n_startup_trials=_STARTUP_TRIALS)
    return optuna.samplers.RandomSampler(seed=seed)


def _pruner(search: SearchSpec) -> "optuna.pruners.BasePruner":
    import optuna

    resource = search.resource
    if resource is None:
        return optuna.pruners.NopPruner()
    if search.method == "hyperband":
        return optuna.pruners.HyperbandPruner(
            min_resource=resource.min,
            max_resource=resource.max,
            reduction_factor=resource.factor,
        )
    return optuna.pruners.SuccessiveHalvingPruner(
        min_resource=resource.min, reduction_factor=resource.factor
    )


def _facts(trial: "optuna.trial.FrozenTrial", search: SearchSpec) -> Trial:
    attributes: Mapping[str, Any] = trial.user_attrs
    params: dict[str, ParamValue] = dict(trial.params)
    steps = trial.intermediate_values
    if search.resource is not None and steps:
        params[search.resource.param] = max(steps)
    value = trial.values[0] if trial.values else (steps[max(steps)] if steps else None)
    return Trial(
        number=trial.number,
        place=int(attributes.get("place", budget(search))),
        worker=int(attributes.get("worker", -1)),
        state=_state(trial),
        params=params,
        value=value,
        started=trial.datetime_start.astimezone(UTC) if trial.datetime_start else None,
        ended=trial.datetime_complete.astimezone(UTC) if trial.datetime_complete else None,
        error=str(attributes.get("error", "")),
    )


def _state(trial: "optuna.trial.FrozenTrial") -> TrialState:
    if trial.state.name == "FAIL":
        return "failed" if "error" in trial.user_attrs else "lost"
    known: Mapping[str, TrialState] = {"COMPLETE": "complete", "PRUNED": "pruned"}
    return known.get(trial.state.name, "running")
