"""Fits the declared model on the newest labelled past and keeps the fitted pipeline.

The labelled past ends at the cut-off: what became known later is not seen, whenever this runs.
"""

import logging
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydantic import AwareDatetime, Field

from ferryman.data.dataset import DatasetStore, DatasetVersion
from ferryman.data.snapshots import SnapshotStore
from ferryman.errors import DataRejected
from ferryman.registry.environment import environment_files
from ferryman.registry.mlflow_tracking import MlflowTracker
from ferryman.registry.tracking import TrackedRun
from ferryman.runtime.messages import StepResult
from ferryman.spec.durations import format_duration
from ferryman.spec.windows import format_time
from ferryman.steps.contract import StepContext, StepParams
from ferryman.training.run_keys import UNKNOWN, code_version, run_key
from ferryman.training.trainers import make_trainer

logger = logging.getLogger(__name__)

MODEL_FILE = "model.skops"


@dataclass(frozen=True)
class _Training:
    """What identifies one training."""

    train: DatasetVersion
    evaluation: DatasetVersion
    key: str
    code_version: str
    reason: str


class Params(StepParams):
    """`cutoff`: see nothing that became known later; default the end of the newest window."""

    cutoff: AwareDatetime | None = None
    reason: str = Field(default="manual", max_length=200)
    pin: str | None = Field(
        default=None, pattern=r"^[0-9a-f]{64}$", description="Train on this dataset."
    )


def run(context: StepContext) -> StepResult:
    """Fit, save, and remember the training in MLflow."""
    params = context.params
    if not isinstance(params, Params):
        raise TypeError(f"train was given {type(params).__name__}")
    settings, spec = context.settings, context.spec
    datasets = DatasetStore(context.data_store)
    training = _plan(context, params, datasets)
    train, evaluation = training.train, training.evaluation
    tracker = MlflowTracker(settings.mlflow_uri, settings.mlflow_artifacts, actor=settings.actor)
    tracked = _start(context, tracker, training)

    model_file = context.folder / MODEL_FILE
    rows, seconds = _fit(context, datasets, train, model_file)
    metrics: dict[str, float | None] = {"train_rows": rows, "fit_seconds": seconds}
    tracker.log(tracked.id, metrics=metrics)
    return context.result(
        text=f"trained on {rows} rows known before {format_time(train.cutoff)}",
        outputs={
            "train_dataset": train.id,
            "eval_dataset": evaluation.id,
            "cutoff": format_time(train.cutoff),
            "run_key": training.key,
            "seed": spec.train.seed,
            "mlflow_run_id": tracked.id,
            "model_file": str(model_file),
            "code_version": training.code_version,
            "reason": params.reason,
        },
        metrics=metrics,
        artifacts={"model": str(model_file)},
    )


def _fit(
    context: StepContext, datasets: DatasetStore, train: DatasetVersion, model_file: Path
) -> tuple[int, float]:
    """Fit and save; the number of training rows, and the seconds that fitting took."""
    spec = context.spec
    frame = datasets.load(train.id, spec.name)
    if len(frame) < spec.train.min_rows:
        raise DataRejected(
            f"{len(frame)} labelled training rows before {format_time(train.cutoff)}, "
            f"train.min_rows is {spec.train.min_rows}",
            remedy="Ingest more windows, or lower train.min_rows.",
        )
    cores = min(context.settings.core_count, spec.runtime.cpu)
    started = time.perf_counter()
    fitted = make_trainer(spec.train.framework, cores=cores).fit(frame, context.model)
    seconds = time.perf_counter() - started
    fitted.save(model_file)
    return len(frame), seconds


def _plan(context: StepContext, params: Params, datasets: DatasetStore) -> _Training:
    """Which datasets, which code: all that decides what comes out."""
    spec = context.spec
    cutoff = params.cutoff.astimezone(UTC) if params.cutoff else None
    if params.pin is not None:
        train = datasets.get(params.pin, spec.name)
        evaluation = datasets.split(spec, cutoff or train.cutoff)[1]
    else:
        train, evaluation = datasets.split(spec, cutoff or _newest_end(context))
    key = run_key(
        [train.id, evaluation.id], context.model.digest, spec.train.params, spec.train.seed
    )
    return _Training(train, evaluation, key, code_version(context.settings), params.reason)


def _newest_end(context: StepContext) -> datetime:
    newest = SnapshotStore(context.data_store).newest(context.spec.name)
    if newest is None:
        raise DataRejected(
            f"no window of {context.spec.name!r} has been published",
            remedy=f"Run `ferryman run ingest --model {context.spec.name}` for some windows first.",
        )
    return newest.window.end


def _start(context: StepContext, tracker: MlflowTracker, training: _Training) -> TrackedRun:
    """The tracked run, with all that identifies this training."""
    spec, request = context.spec, context.request
    train, version = training.train, training.code_version
    tags = {
        "ferryman.model": spec.name,
        "ferryman.run_uri": request.run_uri,
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
    tracked = tracker.start(spec.name, request.run_id, training.key, tags)
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
