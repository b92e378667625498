"""One worker of a search: draws trials from the shared study until it is over."""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from pydantic import Field

from ferryman.data.versions.dataset import DatasetStore
from ferryman.evaluation.measures import make_measures
from ferryman.registry.mlflow_tracking import MlflowTracker
from ferryman.runtime.messages import StepResult
from ferryman.spec.training import ParamValue
from ferryman.steps.contract import StepContext, StepParams
from ferryman.steps.open_search import declared_search
from ferryman.steps.trial_log import TrialLog
from ferryman.training.labels import encode_labels
from ferryman.training.search_rows import SearchRows, split_rows
from ferryman.training.search_study import SearchStudy
from ferryman.training.search_trials import Trial, best_trial
from ferryman.training.search_worker import Objective, work
from ferryman.training.trainer import FitPlan
from ferryman.training.trainers import make_trainer


class Params(StepParams):
    """`worker` tells the workers of a search apart; a second try of one continues it."""

    worker: int = Field(default=0, ge=0, lt=64)


def run(context: StepContext) -> StepResult:
    """Draw trials, fit and score each, and log them below the search's run in MLflow.

    A trial that fails is recorded, and judged by `train` with all others. Raises LostRace (exit 8)
    where this worker runs already, DependencyUnavailable (exit 6) where MLflow is down: the trials
    are kept, and logged by the next try.
    """
    params = context.params
    if not isinstance(params, Params):
        raise TypeError(f"tune was given {type(params).__name__}")
    settings, spec, search = context.settings, context.spec, declared_search(context)
    opened = context.earlier("open_search").outputs
    frame = DatasetStore(context.data_store).load(str(opened["train_dataset"]), spec.name)
    boundary = datetime.fromisoformat(str(opened["validation_from"]))
    rows = split_rows(frame, boundary, spec.train.group)
    study = SearchStudy(Path(str(opened["study"])), search, spec.train.seed)
    tracker = MlflowTracker(settings.mlflow_uri, settings.mlflow_artifacts, actor=settings.actor)
    log = TrialLog(tracker, str(opened["mlflow_run_id"]), search.metric)
    log.add_all(_own(study, params.worker))  # of a try that was killed before it logged them
    reason = work(study, search, params.worker, _objective(context, rows), log.add)
    log.flush()
    trials = _own(study, params.worker)
    best = best_trial(study.trials(), search.metric)
    return context.result(
        text=f"worker {params.worker} drew {len(trials)} trials: {reason}",
        outputs={"worker": params.worker, "reason": reason},
        metrics={
            "trials": len(trials),
            "failed": sum(trial.state in {"failed", "lost"} for trial in trials),
            "pruned": sum(trial.state == "pruned" for trial in trials),
            f"best_{search.metric}": best.value if best else None,
        },
    )


def _own(study: SearchStudy, worker: int) -> list[Trial]:
    return [trial for trial in study.trials() if trial.worker == worker]


def _objective(context: StepContext, rows: SearchRows) -> Objective:
    """Fits on the older rows and scores on the newer ones; None where the metric has no value."""
    spec, search = context.spec, declared_search(context)
    cores = min(context.settings.core_count, spec.runtime.cpu)
    trainer = make_trainer(spec, cores=max(1, cores // search.workers))
    measures = make_measures(spec.train.task, spec.train.classes)
    labels = encode_labels(rows.validation["label"], spec.train)

    def objective(params: Mapping[str, ParamValue]) -> float | None:
        fitted = trainer.fit(rows.fit, context.model, FitPlan.of(spec.train, **params))
        return measures.score(labels, fitted.predict(rows.validation))[search.metric]

    return objective
