"""A worker of a search: draws trials, fits and scores each, until the search is over."""

import logging
import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from ferryman.errors import DependencyUnavailable, IntegrityBroken, LostRace
from ferryman.spec.training import ParamValue, SearchSpec
from ferryman.training.search_study import SearchStudy
from ferryman.training.search_trials import Trial

if TYPE_CHECKING:
    import optuna

logger = logging.getLogger(__name__)

# Fits with the parameters and gives the metric on the validation rows; None where it has none.
Objective = Callable[[Mapping[str, ParamValue]], float | None]

# What no other parameters would change; the whole worker fails, and may be tried again.
_NOT_THE_TRIALS = (DependencyUnavailable, IntegrityBroken, LostRace)


def work(
    study: SearchStudy,
    search: SearchSpec,
    worker: int,
    objective: Objective,
    on_trial: Callable[[Trial], None],
) -> str:
    """Draw trials until the search is over, and say why it is.

    An error of a trial is the trial's; `on_trial` is told of each that ended.
    """
    with study.worker(worker):
        while True:
            drawn = study.draw(worker)
            if isinstance(drawn, str):
                return drawn
            done = _try(study, search, drawn, objective)
            logger.info("trial %d: %s, %s %s", done.number, done.state, search.metric, done.value)
            on_trial(done)


def _try(
    study: SearchStudy, search: SearchSpec, trial: "optuna.trial.Trial", objective: Objective
) -> Trial:
    params: dict[str, ParamValue] = dict(trial.params)
    try:
        if search.resource is None:
            value: float | None = _finite(objective(params), search)
        else:
            value = _climb(study, search.resource.param, search, trial, objective)
    except _NOT_THE_TRIALS:
        raise
    except Exception as error:  # noqa: BLE001 - the user's pipeline may fail in any way
        text = str(error).strip().partition("\n")[0]
        logger.warning("trial %d failed with %s: %s", trial.number, params, error)
        return study.tell(trial, None, error=f"{type(error).__name__}: {text}")
    return study.tell(trial, value)


def _climb(
    study: SearchStudy,
    resource: str,
    search: SearchSpec,
    trial: "optuna.trial.Trial",
    objective: Objective,
) -> float | None:
    """Fit with more and more of the resource; None where the trial is pruned on the way."""
    value = math.nan
    for amount in study.rungs():
        value = _finite(objective({**trial.params, resource: amount}), search)
        trial.report(value, amount)
        if amount < study.rungs()[-1] and trial.should_prune():
            return None
    return value


def _finite(value: float | None, search: SearchSpec) -> float:
    if value is None or not math.isfinite(value):
        raise ValueError(f"{search.metric} cannot be had on the validation rows ({value})")
    return value
