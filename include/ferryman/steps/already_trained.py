"""The door of a training that no person asked for: it begins only where there is something new.

Events come in crowds, and what comes while a training runs starts another: that one ends here,
before anything dear is done.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from pydantic import Field

from ferryman.data.versions.dataset import DatasetStore
from ferryman.errors import FerrymanError, Superseded
from ferryman.runtime.run_store import RESULT, read_result
from ferryman.spec.durations import format_duration
from ferryman.spec.windows import format_time
from ferryman.steps.contract import StepContext
from ferryman.steps.same_training import finished_trainings
from ferryman.steps.training_data import DatasetParams, choose_datasets, newest_end
from ferryman.training.recipe import RECIPE, read_recipe

Asking = Literal["person", "schedule", "event", "backfill"]

logger = logging.getLogger(__name__)


class AskedParams(DatasetParams):
    """`asked`: who wants the training. Persons and backfills always get one, others what is new.

    `actor` is the person's name, where it is not the installation's own user.
    """

    asked: Asking = "person"
    actor: str | None = Field(default=None, min_length=1, max_length=200)


@dataclass(frozen=True)
class _Trained:
    """A training that was done before and registered: its run, who asked, what it has seen."""

    run: str
    version: int
    asked: str
    cutoff: datetime
    datasets: tuple[str, str]
    code_digest: str


def refuse_repetition(context: StepContext, params: AskedParams) -> None:
    """Raise Superseded (exit 5) where what is asked for has been trained, or was so just now.

    A schedule and an event get no training as of a cut-off that the same declaration was trained
    at, on the same data, or beyond. An event gets none within `monitor.retrain.cool_down` (of the
    data's time) after the last that an event got.
    """
    if params.asked not in ("schedule", "event"):
        return
    cutoff = params.cutoff.astimezone(UTC) if params.cutoff else newest_end(context)
    trained = list(_registered(context))
    same_code = [one for one in trained if one.code_digest == context.model.digest]
    newest = max(same_code, key=lambda one: (one.cutoff, one.version), default=None)
    if newest is not None and newest.cutoff > cutoff:
        raise _repeated(newest, "which is newer")
    at_cutoff = [one for one in same_code if one.cutoff == cutoff]
    if at_cutoff:
        reason, actor = params.reason, context.settings.actor
        datasets = DatasetStore(context.data_store, reason=reason, actor=actor)
        train, evaluation = choose_datasets(context, datasets, cutoff, params.pin)
        for one in at_cutoff:
            if one.datasets == (train.id, evaluation.id):
                raise _repeated(one, "and there is nothing new")
    if params.asked == "event":
        _refuse_in_cool_down(context, cutoff, trained)


def _refuse_in_cool_down(context: StepContext, cutoff: datetime, trained: list[_Trained]) -> None:
    cool_down = context.spec.monitor.retrain.cool_down
    before = [one for one in trained if one.asked == "event" and one.cutoff < cutoff]
    last = max(before, key=lambda one: one.cutoff, default=None)
    if last is not None and cutoff - last.cutoff < cool_down:
        raise _repeated(
            last,
            f"as an event asked, and monitor.retrain.cool_down is {format_duration(cool_down)}",
        )


def _repeated(one: _Trained, why: str) -> Superseded:
    return Superseded(
        f"already trained on data up to {format_time(one.cutoff)} (version {one.version}, run "
        f"{one.run}), {why}",
        remedy="None needed; a training that a person starts is done all the same.",
    )


def _registered(context: StepContext) -> Iterator[_Trained]:
    """The model's other trainings that were registered, whoever asked for them."""
    runs = context.settings.runs_root / context.spec.name / "training"
    for file, result in finished_trainings(runs):
        run, outputs = file.parent.parent, result.outputs
        registered, recipe = run / "register" / RESULT, file.with_name(RECIPE)
        if run.name == context.request.run_uri.rpartition("/")[2] or not registered.is_file():
            continue
        try:
            yield _Trained(
                run=run.name,
                version=int(str(read_result(registered).outputs["version"])),
                asked=str(outputs.get("asked", "person")),
                cutoff=datetime.fromisoformat(str(outputs["cutoff"])),
                datasets=(str(outputs["train_dataset"]), str(outputs["eval_dataset"])),
                code_digest=read_recipe(recipe.read_bytes(), str(recipe)).code_digest,
            )
        except (FerrymanError, OSError, KeyError, ValueError) as error:
            # Not ours to judge; at worst something is trained twice.
            logger.warning("training run %s is passed over: %s", run.name, error)
