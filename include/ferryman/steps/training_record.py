"""What is remembered of a training: its recipe, its code and its environment, in MLflow.

All of it is there before the fit begins, so that of a training that fails is known what it was.
"""

import hashlib
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from pydantic import JsonValue

from ferryman.data.versions.dataset_catalogue import Override
from ferryman.errors import FerrymanError, LostRace
from ferryman.registry.environment import environment_files
from ferryman.registry.mlflow_tracking import MlflowTracker
from ferryman.registry.tracking import TrackedRun, Tracker
from ferryman.runtime.files import json_bytes
from ferryman.settings import Settings
from ferryman.spec.durations import format_duration
from ferryman.spec.loader import files_digest, folder_digest, folder_files
from ferryman.spec.model import DeclaredModel
from ferryman.steps.contract import StepContext
from ferryman.training.recipe import RECIPE, Recipe
from ferryman.training.run_keys import UNKNOWN

CODE, ENVIRONMENT, TRAINING = "code", "environment", "training"  # folders of a run's artifacts
_MOST_CODE = 10_000_000  # bytes of a model's folder; what is larger is data, not code

logger = logging.getLogger(__name__)


def start_run(
    context: StepContext,
    tracker: MlflowTracker,
    recipe: Recipe,
    told: Mapping[str, str],
    override: Override | None,
) -> TrackedRun:
    """The tracked run with all that identifies the training; `told` are further tags."""
    spec = context.spec
    tags = {
        "ferryman.model": spec.name,
        "ferryman.run_uri": context.request.run_uri,
        "ferryman.train_dataset": recipe.train_dataset,
        "ferryman.eval_dataset": recipe.eval_dataset,
        "ferryman.code_version": recipe.code_version,
        "ferryman.spec_digest": recipe.code_digest,
        "ferryman.seed": str(recipe.seed),
        "ferryman.cores": str(recipe.cores),
        **{f"ferryman.trial.{name}": str(value) for name, value in recipe.trial.items()},
        **{f"ferryman.{name}": value for name, value in told.items()},
        **_origin_tags(context.origin),
    }
    if recipe.lock:
        tags["ferryman.lock"] = recipe.lock
    if recipe.code_version != UNKNOWN:
        tags["mlflow.source.git.commit"] = recipe.code_version.removesuffix("-dirty")
    if override:
        tags["ferryman.accepted_leakage"] = override.reason
        tags["ferryman.accepted_leakage_by"] = override.actor
    tracked = tracker.start(spec.name, context.request.run_id, recipe.run_key, tags)
    with ended_if_it_fails(tracker, tracked):
        _remember(context, tracker, tracked, recipe)
    return tracked


def _remember(
    context: StepContext, tracker: MlflowTracker, tracked: TrackedRun, recipe: Recipe
) -> None:
    """Log what was declared, what is read, and the files that a training is done again from."""
    spec = context.spec
    declared: dict[str, JsonValue] = {
        "seed": recipe.seed,
        "framework": spec.train.framework,
        "task": spec.train.task,
        "pipeline": recipe.pipeline,
        "train_window": format_duration(spec.train.window),
        "holdout": format_duration(spec.train.holdout),
        "features": len(spec.features.columns),
        "workers": spec.train.workers,
    }
    tracker.log(tracked.id, params={**recipe.params, **declared})
    tracker.log_datasets(tracked.id, {"train": recipe.train_dataset, "eval": recipe.eval_dataset})
    recipe_file = {RECIPE: json_bytes(recipe.model_dump(mode="json"))}
    folders = {ENVIRONMENT: environment_files(), TRAINING: recipe_file, CODE: _code(context.model)}
    files = {
        f"{folder}/{name}": file for folder in folders for name, file in folders[folder].items()
    }
    tracker.log_files(tracked.id, files)


@contextmanager
def ended_if_it_fails(tracker: Tracker, tracked: TrackedRun) -> Iterator[None]:
    """End the tracked run, with the reason, where the block does not end well.

    What of a process is killed outright is ended by maintenance (steps.unfinished_runs), or goes on
    when the step is tried again.
    """
    try:
        yield
    except BaseException as error:
        try:
            killed = not isinstance(error, Exception)  # an interrupt, a task's time that is over
            tracker.fail(tracked.id, f"{type(error).__name__}: {error}", killed=killed)
        except FerrymanError as away:
            logger.warning("the run %s stays unfinished: %s", tracked.id, away.text)
        raise


def lock_digest(settings: Settings) -> str:
    """The sha256 of the project's lock of dependencies; empty without one."""
    lock = settings.root / "requirements.txt"
    return hashlib.sha256(lock.read_bytes()).hexdigest() if lock.is_file() else ""


def refuse_changed_folder(model: DeclaredModel) -> None:
    """Raise LostRace (exit 8) where the model's folder is not what its digest says any more."""
    if folder_digest(model.folder) != model.digest:
        raise LostRace(
            f"{model.folder} was changed while {model.name!r} was trained",
            remedy="Run again: the training is done with the folder as it is then.",
        )


def _code(model: DeclaredModel) -> dict[str, bytes]:
    files = dict(folder_files(model.folder))
    if files_digest(files.items()) != model.digest:
        refuse_changed_folder(model)
    size = sum(len(content) for content in files.values())
    if size > _MOST_CODE:
        logger.warning("%s holds %d bytes: its files are not kept with the run", model.folder, size)
        return {}
    return files


def _origin_tags(origin: str) -> dict[str, str]:
    """The page of whoever asked, as a tag, and where MLflow shows it as a link."""
    if not origin.startswith(("http://", "https://")):
        return {"ferryman.origin": origin} if origin else {}
    note = f"Trained by [this task](<{origin}>)."
    return {"ferryman.origin": origin, "mlflow.note.content": note}
