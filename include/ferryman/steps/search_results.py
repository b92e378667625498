"""What came of a search: its best trial, judged and remembered, for `train` to train again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import JsonValue

from ferryman.errors import GateRefused
from ferryman.registry.mlflow_tracking import MlflowTracker
from ferryman.runtime.files import json_bytes
from ferryman.spec.training import ParamValue, SearchSpec
from ferryman.steps.contract import StepContext
from ferryman.steps.trial_log import tracked_trials
from ferryman.training.search_study import SearchStudy
from ferryman.training.search_trials import Trial, best_trial, failed_share

TRIALS = "trials.json"


@dataclass(frozen=True)
class BestTrial:
    """What a search found: the parameters to train with, and what is told of their trial.

    `params` are the declared ones with the trial's in their place; `train_dataset` is the version
    that was searched on, which the training must be done on.
    """

    params: Mapping[str, ParamValue]
    trial: Mapping[str, JsonValue]
    train_dataset: str


def best_of(context: StepContext) -> BestTrial | None:
    """The best trial of this run's search; None for a model that declares no search.

    Raises GateRefused (exit 4) where too many trials failed or none finished, SpecError (exit 2)
    where the search was not run.
    """
    search = context.spec.search
    if search is None:
        return None
    opened = context.earlier("open_search").outputs
    study = SearchStudy(Path(str(opened["study"])), search, context.spec.train.seed)
    study.lose_dead()
    trials, parent = study.trials(), str(opened["mlflow_run_id"])
    best, stopped = best_trial(trials, search.metric), study.stopped()
    end = {
        "ferryman.search_stopped": stopped,
        "ferryman.search_cpu_seconds": f"{study.spent():.1f}",
    }
    _remember(context, search, parent, trials, best, end=end)
    best = _judged(search, trials, best, stopped=stopped)
    return BestTrial(
        params={**context.spec.train.params, **best.params},
        trial={
            "number": best.number,
            "params": dict(best.params),
            "metric": search.metric,
            "value": best.value,
            "of": len(trials),
            "stopped": stopped,
            "mlflow_run_id": parent,
        },
        train_dataset=str(opened["train_dataset"]),
    )


def _judged(
    search: SearchSpec, trials: Sequence[Trial], best: Trial | None, *, stopped: str
) -> Trial:
    """The best trial, where the search as a whole can be believed."""
    share = failed_share(trials, search, ended=bool(stopped))
    if best is not None and share <= search.max_failed:
        return best
    counts = {state: sum(trial.state == state for trial in trials) for state in ("failed", "lost")}
    text = f"{counts['failed']} of {len(trials)} trials failed, {counts['lost']} lost their worker"
    if not stopped:
        text += "; the search is not finished"
    first = next((trial for trial in trials if trial.error), None)
    if first is not None:
        text += f"; trial {first.number} with {dict(first.params)}: {first.error}"
    raise GateRefused(
        f"the search found nothing to train with: {text} (search.max_failed {search.max_failed})"
        if best is None
        else f"too many trials failed: {text} (search.max_failed {search.max_failed})",
        remedy="Correct what made them fail, or narrow search.space; then search again.",
    )


def _remember(  # noqa: PLR0913 - all that is known of a search
    context: StepContext,
    search: SearchSpec,
    parent: str,
    trials: Sequence[Trial],
    best: Trial | None,
    *,
    end: Mapping[str, str],
) -> None:
    """All trials in MLflow, those of dead workers too, the search's own figures, and its end."""
    settings = context.settings
    tracker = MlflowTracker(settings.mlflow_uri, settings.mlflow_artifacts, actor=settings.actor)
    tracker.log_trials(parent, tracked_trials(trials, search.metric))
    metrics: dict[str, float | None] = {
        f"{state}_trials": sum(trial.state == state for trial in trials)
        for state in ("complete", "pruned", "failed", "lost")
    }
    if best is not None:
        metrics[f"best_{search.metric}"] = best.value
        found = {f"best.{name}": value for name, value in best.params.items()}
        tracker.log(parent, params=found, tags={"ferryman.best_trial": str(best.number)})
    tracker.log(parent, metrics=metrics, tags=dict(end))
    tracker.log_files(parent, {TRIALS: json_bytes([_row(trial) for trial in trials])}, "search")
    tracker.finish(parent)


def _row(trial: Trial) -> dict[str, JsonValue]:
    return {
        "number": trial.number,
        "worker": trial.worker,
        "state": trial.state,
        "params": dict(trial.params),
        "value": trial.value,
        "seconds": trial.seconds,
        "error": trial.error,
    }
