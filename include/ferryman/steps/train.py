"""Fits the declared model on the newest labelled past and keeps the fitted pipeline.

The labelled past ends at the cut-off: what became known later is not seen, whenever this runs.
"""

import logging
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import AwareDatetime, Field, JsonValue

from ferryman.data.validation.leakage import check_labels, find_leaks, refuse_leaks
from ferryman.data.versions.dataset import DatasetStore, DatasetVersion
from ferryman.data.versions.dataset_catalogue import DatasetCatalogue, Override, Split
from ferryman.errors import DataRejected
from ferryman.registry.environment import environment_files
from ferryman.registry.mlflow_tracking import MlflowTracker
from ferryman.registry.tracking import TrackedRun
from ferryman.runtime.files import file_digest, write_atomic
from ferryman.runtime.messages import StepResult
from ferryman.spec.durations import format_duration
from ferryman.spec.windows import format_time
from ferryman.steps.contract import Reason, StepContext, StepParams
from ferryman.steps.same_training import find_same_training
from ferryman.steps.training_data import choose_datasets
from ferryman.training.run_keys import UNKNOWN, code_version, run_key
from ferryman.training.trainers import MODEL_FILES, make_trainer

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Training:
    """What identifies one training, and what was allowed for it."""

    train: DatasetVersion
    evaluation: DatasetVersion
    split: Split | None
    key: str
    code_version: str
    reason: str
    override: Override | None = None


@dataclass(frozen=True)
class _Fitted:
    """The model file's digest, the seconds of the fit, or the run that the model was taken from."""

    sha256: str
    seconds: float | None
    same_as: str | None


class Params(StepParams):
    """`cutoff`: see nothing that became known later; default the end of the newest window.

    `accept_leakage` is a person's reason why a suspiciously good column, or result, is right.
    """

    cutoff: AwareDatetime | None = None
    reason: str = Field(default="manual", max_length=200)
    pin: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$",
        coerce_numbers_to_str=True,  # a beginning may be all digits
        description="Train on this dataset: its id, a unique beginning of it, or a pin's name.",
    )
    accept_leakage: Reason | None = None


def run(context: StepContext) -> StepResult:
    """Check, fit, save, and remember the training in MLflow.

    Raises DataRejected (exit 3) for too few rows or a constant label, GateRefused (exit 4) where a
    column alone gives the label away and nobody allowed it.
    """
    params = context.params
    if not isinstance(params, Params):
        raise TypeError(f"train was given {type(params).__name__}")
    settings, spec = context.settings, context.spec
    datasets = DatasetStore(context.data_store, reason=params.reason, actor=settings.actor)
    plan = _plan(context, params, datasets)
    frame = datasets.load(plan.train.id, spec.name)
    training = _checked(context, params, plan, frame)
    tracker = MlflowTracker(settings.mlflow_uri, settings.mlflow_artifacts, actor=settings.actor)
    tracked = _start(context, tracker, training)
    fitted = _fit(context, training, frame)
    metrics: dict[str, float | None] = {
        "train_rows": len(frame),
        "fit_seconds": fitted.seconds,
        "left_out_rows": training.split.left_out_rows if training.split else None,
        "shared_rows": training.split.shared_rows if training.split else None,
    }
    tracker.log(tracked.id, metrics=metrics)
    return context.result(
        text=_text(training, fitted, len(frame)),
        outputs=_outputs(context, training, fitted, tracked),
        metrics=metrics,
        artifacts={"model": str(_model_file(context))},
    )


def _plan(context: StepContext, params: Params, datasets: DatasetStore) -> _Training:
    """Which datasets, which code: all that decides what comes out."""
    spec = context.spec
    train, evaluation = choose_datasets(context, datasets, params.cutoff, params.pin)
    key = run_key(
        [train.id, evaluation.id],
        context.model.digest,
        spec.train.params,
        spec.train.seed,
        leakage_accepted=params.accept_leakage is not None,
    )
    entry = DatasetCatalogue(context.data_store).entry(spec.name, train.id)
    split = entry.split if entry else None
    return _Training(train, evaluation, split, key, code_version(context.settings), params.reason)


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
        run_key=plan.key,
        actor=context.settings.actor,
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
    spec, target = context.spec, _model_file(context)
    runs = context.settings.runs_root / spec.name / "training"
    same = find_same_training(
        runs, context.folder, target.name, training.key, training.code_version
    )
    if same is not None:
        name, model = same
        write_atomic(target, model.read_bytes())
        return _Fitted(file_digest(target), None, name)
    cores = min(context.settings.core_count, spec.runtime.cpu)
    started = time.perf_counter()
    fitted = make_trainer(spec, cores=cores).fit(frame, context.model)
    seconds = time.perf_counter() - started
    fitted.save(target)
    return _Fitted(file_digest(target), seconds, None)


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
    outputs: dict[str, JsonValue] = {
        "train_dataset": training.train.id,
        "eval_dataset": training.evaluation.id,
        "cutoff": format_time(training.train.cutoff),
        "run_key": training.key,
        "seed": context.spec.train.seed,
        "mlflow_run_id": tracked.id,
        "model_file": str(_model_file(context)),
        "model_sha256": fitted.sha256,
        "code_version": training.code_version,
        "reason": training.reason,
    }
    if fitted.same_as:
        outputs["same_as"] = fitted.same_as
    if training.override:
        outputs["accepted_leakage"] = training.override.model_dump(
            mode="json", include={"actor", "reason", "findings"}
        )
    return outputs


def _start(context: StepContext, tracker: MlflowTracker, training: _Training) -> TrackedRun:
    """The tracked run, with all that identifies this training."""
    spec = context.spec
    train, version = training.train, training.code_version
    tags = {
        "ferryman.model": spec.name,
        "ferryman.run_uri": context.request.run_uri,
        "ferryman.train_dataset": train.id,
        "ferryman.eval_dataset": training.evaluation.id,
        "ferryman.cutoff": format_time(train.cutoff),
        "ferryman.code_version": version,
        "ferryman.spec_digest": context.model.digest,
        "ferryman.seed": str(spec.train.seed),
        "ferryman.reason": training.reason,
    }
    if version != UNKNOWN:
        tags["mlflow.source.git.commit"] = version.removesuffix("-dirty")
    if training.override:
        tags["ferryman.accepted_leakage"] = training.override.reason
        tags["ferryman.accepted_leakage_by"] = training.override.actor
    tracked = tracker.start(spec.name, context.request.run_id, training.key, tags)
    declared = {
        "seed": spec.train.seed,
        "framework": spec.train.framework,
        "pipeline": spec.train.pipeline,
        "train_window": format_duration(spec.train.window),
        "holdout": format_duration(spec.train.holdout),
        "features": len(spec.features.columns),
    }
    tracker.log(tracked.id, params={**spec.train.params, **declared})
    tracker.log_datasets(tracked.id, {"train": train.id, "eval": training.evaluation.id})
    tracker.log_files(tracked.id, environment_files(), "environment")
    return tracked
