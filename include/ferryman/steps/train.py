"""Fits the declared model on the newest labelled past and keeps the fitted pipeline.

The labelled past ends at the cut-off: what became known later is not seen, whenever this runs.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import JsonValue

from ferryman.data.validation.leakage import check_labels, find_leaks, refuse_leaks
from ferryman.data.versions.dataset import DatasetStore, DatasetVersion
from ferryman.data.versions.dataset_catalogue import DatasetCatalogue, Override, Split
from ferryman.errors import DataRejected
from ferryman.packaging.trained_answers import ANSWERS, record_answers
from ferryman.registry.mlflow_tracking import MlflowTracker
from ferryman.registry.tracking import TrackedRun
from ferryman.runtime.files import file_digest, write_atomic, write_json
from ferryman.runtime.messages import StepResult
from ferryman.runtime.timings import Stopwatch
from ferryman.spec.windows import format_time
from ferryman.steps.already_trained import AskedParams, Asking, refuse_repetition
from ferryman.steps.contract import Reason, StepContext
from ferryman.steps.same_training import HISTORY, SameTraining, find_same_training
from ferryman.steps.search_results import best_of
from ferryman.steps.training_budget import refuse_over_budget
from ferryman.steps.training_data import choose_datasets
from ferryman.steps.training_record import (
    TRAINING,
    ended_if_it_fails,
    lock_digest,
    refuse_changed_folder,
    start_run,
)
from ferryman.training.recipe import RECIPE, Recipe
from ferryman.training.run_keys import code_version
from ferryman.training.trainer import FitPlan
from ferryman.training.trainers import MODEL_FILES, make_trainer

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger(__name__)


# The figures of one epoch by name; None where one was not a number.
Epoch = Mapping[str, float | None]


@dataclass(frozen=True)
class _Training:
    """What identifies one training, and what was allowed for it."""

    train: DatasetVersion
    evaluation: DatasetVersion
    split: Split | None
    recipe: Recipe
    reason: str
    asked: Asking = "person"
    person: str = ""
    override: Override | None = None


@dataclass(frozen=True)
class _Fitted:
    """The model file's digest, what the fit cost, or the run that the model was taken from."""

    sha256: str
    seconds: float | None = None
    cpu_seconds: float | None = None
    history: Sequence[Epoch] = ()
    same_as: str | None = None


class Params(AskedParams):
    """`accept_leakage` is a person's reason why a suspiciously good column, or result, is right.

    Where a search was done, its data is trained on, whatever cut-off and pin say.
    """

    accept_leakage: Reason | None = None


def run(context: StepContext) -> StepResult:
    """Check, fit, save, and remember the training in MLflow.

    Raises DataRejected (exit 3) for too few rows or a constant label, GateRefused (exit 4) where a
    column alone gives the label away and nobody allowed it, or the search found nothing, Superseded
    (exit 5) where nothing is new to train on and no person asked, PolicyRefused (exit 9) above the
    weekly budget.
    """
    params = context.params
    if not isinstance(params, Params):
        raise TypeError(f"train was given {type(params).__name__}")
    settings, spec = context.settings, context.spec
    if spec.search is None:  # else it was decided before the search
        refuse_repetition(context, params)
        refuse_over_budget(context)
    actor = params.actor or settings.actor
    datasets = DatasetStore(context.data_store, reason=params.reason, actor=actor)
    plan = _plan(context, params, datasets)
    frame = datasets.load(plan.train.id, spec.name)
    training = _checked(context, params, plan, frame)
    tracker = MlflowTracker(settings.mlflow_uri, settings.mlflow_artifacts, actor=settings.actor)
    told = {"cutoff": format_time(training.train.cutoff), "reason": training.reason}
    if training.person:
        told["asked_by"] = training.person
    tracked = start_run(context, tracker, training.recipe, told, training.override)
    with ended_if_it_fails(tracker, tracked):
        fitted = _fit(context, training, frame)
    metrics: dict[str, float | None] = {
        "train_rows": len(frame),
        "fit_seconds": fitted.seconds,
        "fit_cpu_seconds": fitted.cpu_seconds,
        "left_out_rows": training.split.left_out_rows if training.split else None,
        "shared_rows": training.split.shared_rows if training.split else None,
    }
    tracker.log(tracked.id, metrics=metrics, history=fitted.history)
    artifacts = {"model": str(_model_file(context)), "recipe": str(context.folder / RECIPE)}
    if fitted.history:
        history = context.folder / HISTORY
        artifacts["history"] = str(history)
        tracker.log_files(tracked.id, {HISTORY: history.read_bytes()}, TRAINING)
    return context.result(
        text=_text(training, fitted, len(frame)),
        outputs=_outputs(context, training, fitted, tracked),
        metrics=metrics,
        artifacts=artifacts,
    )


def _plan(context: StepContext, params: Params, datasets: DatasetStore) -> _Training:
    """Which datasets, which code, which parameters: all that decides what comes out."""
    spec, settings = context.spec, context.settings
    best = best_of(context)
    cutoff, pin = (params.cutoff, params.pin) if best is None else (None, best.train_dataset)
    train, evaluation = choose_datasets(context, datasets, cutoff, pin)
    recipe = Recipe(
        model=spec.name,
        train_dataset=train.id,
        eval_dataset=evaluation.id,
        code_digest=context.model.digest,
        code_version=code_version(settings),
        pipeline=spec.train.pipeline,
        params=dict(best.params if best else spec.train.params),
        seed=spec.train.seed,
        cores=min(settings.core_count, spec.runtime.cpu),
        leakage_accepted=params.accept_leakage is not None,
        lock=lock_digest(settings),
        trial=dict(best.trial) if best else {},
    )
    write_json(context.folder / RECIPE, recipe.model_dump(mode="json"))
    entry = DatasetCatalogue(context.data_store).entry(spec.name, train.id)
    split = entry.split if entry else None
    person = (params.actor or settings.actor) if params.asked == "person" else ""
    return _Training(train, evaluation, split, recipe, params.reason, params.asked, person)


def _checked(
    context: StepContext, params: Params, plan: _Training, frame: "pd.DataFrame"
) -> _Training:
    """The plan, when its rows may be trained on, with what a person allowed for it."""
    spec = context.spec
    if len(frame) < spec.train.min_rows:
        raise DataRejected(
            f"{len(frame)} labelled training rows before {format_time(plan.train.cutoff)}, "
            f"train.min_rows is {spec.train.min_rows}",
            remedy="Ingest more windows, or lower train.min_rows.",
        )
    check_labels(frame, spec.data.label.name, spec.train)
    leaks = find_leaks(frame, dict(plan.train.columns), spec.train)
    if params.accept_leakage is None:
        refuse_leaks(leaks, len(frame))
        return plan
    override = Override(
        dataset=plan.train.id,
        run_key=plan.recipe.run_key,
        actor=params.actor or context.settings.actor,
        reason=params.accept_leakage,
        findings=[str(leak) for leak in leaks[:20]],
        at=datetime.now(UTC),
    )
    catalogue = DatasetCatalogue(context.data_store)
    kept = catalogue.allow(spec.name, override)
    # The gate judges on the evaluation version and looks there.
    catalogue.allow(spec.name, kept.model_copy(update={"dataset": plan.evaluation.id}))
    logger.warning("%s: leakage accepted by %s: %s", spec.name, kept.actor, kept.reason)
    return replace(plan, override=kept)


def _fit(context: StepContext, training: _Training, frame: "pd.DataFrame") -> _Fitted:
    """Fit and save; or take the model of an equal training, which would be the same bytes."""
    target, recipe = _model_file(context), training.recipe
    runs = context.settings.runs_root / context.spec.name / "training"
    same = find_same_training(
        runs, context.folder, target.name, recipe.run_key, recipe.code_version
    )
    if same is not None:
        return _take(context, same, target)
    plan = FitPlan(recipe.pipeline, recipe.params, recipe.seed)
    trainer = make_trainer(context.spec, cores=recipe.cores)
    watch = Stopwatch()
    fitted = trainer.fit(frame, context.model, plan)
    cost = watch.read()
    refuse_changed_folder(context.model)
    fitted.save(target)
    record_answers(fitted.predict, frame, context.spec, target.with_name(ANSWERS))
    history = [
        {name: float(value) if isfinite(value) else None for name, value in epoch.items()}
        for epoch in fitted.history
    ]
    if history:
        write_json(context.folder / HISTORY, history)
    return _Fitted(file_digest(target), cost.seconds, cost.cpu_seconds, history)


def _take(context: StepContext, same: SameTraining, target: Path) -> _Fitted:
    """The model of an equal training, with its history; it costs nothing."""
    write_atomic(target, same.model.read_bytes())
    answers = same.model.with_name(ANSWERS)
    if answers.is_file():
        write_atomic(target.with_name(ANSWERS), answers.read_bytes())
    if same.history:
        write_json(context.folder / HISTORY, list(same.history))
    return _Fitted(file_digest(target), history=same.history, same_as=same.run)


def _model_file(context: StepContext) -> Path:
    return context.folder / MODEL_FILES[context.spec.train.framework]


def _text(training: _Training, fitted: _Fitted, rows: int) -> str:
    parts = [f"trained on {rows} rows known before {format_time(training.train.cutoff)}"]
    if fitted.same_as:
        parts = [f"nothing new to train on: {rows} rows, the model of run {fitted.same_as}"]
    if training.split and training.split.left_out_rows:
        split = training.split
        parts.append(
            f"{split.left_out_rows} rows of {split.left_out_groups} groups left out, which evaluate"
        )
    if training.override:
        parts.append(f"leakage accepted by {training.override.actor}")
    return "; ".join(parts)


def _outputs(
    context: StepContext, training: _Training, fitted: _Fitted, tracked: TrackedRun
) -> dict[str, JsonValue]:
    recipe = training.recipe
    outputs: dict[str, JsonValue] = {
        "train_dataset": training.train.id,
        "eval_dataset": training.evaluation.id,
        "cutoff": format_time(training.train.cutoff),
        "run_key": recipe.run_key,
        "params": dict(recipe.params),
        "seed": recipe.seed,
        "mlflow_run_id": tracked.id,
        "model_file": str(_model_file(context)),
        "model_sha256": fitted.sha256,
        "code_version": recipe.code_version,
        "reason": training.reason,
    }
    if recipe.trial:
        outputs["trial"] = dict(recipe.trial)
    if training.asked != "person":
        outputs["asked"] = training.asked
    if training.person:
        outputs["asked_by"] = training.person
    if fitted.same_as:
        outputs["same_as"] = fitted.same_as
    if training.override:
        outputs["accepted_leakage"] = training.override.model_dump(
            mode="json", include={"actor", "reason", "findings"}
        )
    return outputs
