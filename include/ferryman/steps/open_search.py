"""Begins a search: chooses the rows, makes the shared study, and remembers the search in MLflow."""

import hashlib
import logging

from pydantic import JsonValue

from ferryman.data.versions.dataset import DatasetStore
from ferryman.errors import SpecError
from ferryman.registry.mlflow_tracking import MlflowTracker
from ferryman.registry.tracking import TrackedRun
from ferryman.runtime.messages import StepResult, canonical_json
from ferryman.spec.durations import format_duration
from ferryman.spec.training import SearchSpec
from ferryman.spec.windows import format_time
from ferryman.steps.already_trained import AskedParams, refuse_repetition
from ferryman.steps.contract import StepContext
from ferryman.steps.training_budget import refuse_over_budget
from ferryman.steps.training_data import choose_datasets
from ferryman.training.search_rows import refuse_few_rows, split_rows
from ferryman.training.search_study import SearchStudy
from ferryman.training.search_trials import budget

logger = logging.getLogger(__name__)


class Params(AskedParams):
    """Which data; `train` takes what was chosen here."""


def run(context: StepContext) -> StepResult:
    """Choose the datasets and open the study for the workers.

    The holdout is chosen, for `train` to find, but no row of it is read. Raises DataRejected
    (exit 3) where there are too few rows to fit or to score a trial, Superseded (exit 5) where
    nothing is new to train on and no person asked, PolicyRefused (exit 9) above the weekly budget.
    """
    params = context.params
    if not isinstance(params, Params):
        raise TypeError(f"open_search was given {type(params).__name__}")
    settings, spec, search = context.settings, context.spec, declared_search(context)
    refuse_repetition(context, params)
    refuse_over_budget(context)
    datasets = DatasetStore(
        context.data_store, reason=params.reason, actor=params.actor or settings.actor
    )
    train, evaluation = choose_datasets(context, datasets, params.cutoff, params.pin)
    _warn_of_groups(context)
    boundary = train.event_window.end - search.validation
    rows = split_rows(datasets.load(train.id, spec.name), boundary, spec.train.group)
    refuse_few_rows(rows, boundary, spec.evaluation.min_rows)
    key = _search_key(context, train.id)
    # Another declaration in the same run is another search.
    folder = context.folder / f"study-{key[:12]}"
    SearchStudy(folder, search, spec.train.seed)
    tracked = _start(context, search, train.id, key)
    outputs: dict[str, JsonValue] = {
        "study": str(folder),
        "train_dataset": train.id,
        "eval_dataset": evaluation.id,
        "validation_from": format_time(boundary),
        "method": search.method,
        "trials": budget(search),
        "workers": search.workers,
        "mlflow_run_id": tracked.id,
    }
    fit, validation = len(rows.fit), len(rows.validation)
    return context.result(
        text=f"opened a {search.method} search of {budget(search)} trials: {fit} rows fit, "
        f"{validation} rows from {format_time(boundary)} score",
        outputs=outputs,
        metrics={"fit_rows": fit, "validation_rows": validation},
    )


def declared_search(context: StepContext) -> SearchSpec:
    """The declared search; SpecError (exit 2) where there is none."""
    if context.spec.search is None:
        raise SpecError(
            f"{context.model.file}:1: model {context.spec.name!r} declares no search",
            remedy="Declare search, or run the training without this step.",
        )
    return context.spec.search


def _warn_of_groups(context: StepContext) -> None:
    """Tell where a group cannot be kept apart, because a dataset's frame lacks its columns."""
    features = context.spec.features.columns
    missing = [name for name in context.spec.train.group if name not in features]
    if missing:
        logger.warning(
            "%s: trials are fitted and scored on rows of the same groups: %s is no feature",
            context.spec.name,
            ", ".join(missing),
        )


def _search_key(context: StepContext, dataset: str) -> str:
    content: JsonValue = {
        "dataset": dataset,
        "code": context.model.digest,
        "seed": context.spec.train.seed,
    }
    return hashlib.sha256(canonical_json(content)).hexdigest()


def _start(context: StepContext, search: SearchSpec, dataset: str, key: str) -> TrackedRun:
    """The run that the trials' runs are below."""
    settings, spec = context.settings, context.spec
    tracker = MlflowTracker(settings.mlflow_uri, settings.mlflow_artifacts, actor=settings.actor)
    tags = {
        "ferryman.model": spec.name,
        "ferryman.kind": "search",
        "ferryman.run_uri": context.request.run_uri,
        "ferryman.train_dataset": dataset,
        "ferryman.spec_digest": context.model.digest,
        "ferryman.seed": str(spec.train.seed),
    }
    # A name of its own: the training of the same run is another run in MLflow.
    tracked = tracker.start(spec.name, f"{context.request.run_id}/search", key, tags)
    declared = {
        "method": search.method,
        "metric": search.metric,
        "trials": budget(search),
        "workers": search.workers,
        "validation": format_duration(search.validation),
        "seed": spec.train.seed,
    }
    tracker.log(tracked.id, params=declared)
    tracker.log_datasets(tracked.id, {"train": dataset})
    return tracked
