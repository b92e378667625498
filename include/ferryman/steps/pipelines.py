"""Which steps make which pipeline: the one list that the command line and the DAGs share."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import JsonValue

from ferryman.spec.model import ModelSpec
from ferryman.spec.rollout import RolloutSpec

APPROVAL, EXPOSE = ("propose", "approve"), "expose"
_STAGE = re.compile(rf"{EXPOSE}-([1-9][0-9]?)")


@dataclass(frozen=True)
class Pipeline:
    """Steps in order; `after` names the pipeline whose newest finished run they build on.

    `search` stands before the steps, for models that declare a search; approval and exposure stand
    after the step `rollout_after`, for models whose rollout has them; what is in `afterwards` tells
    of the result, which is whole without it.
    """

    name: str
    steps: tuple[str, ...]
    windowed: bool = False
    after: str | None = None
    search: tuple[str, ...] = ()
    afterwards: tuple[str, ...] = ()
    rollout_after: str = ""

    def steps_of(self, spec: ModelSpec) -> tuple[str, ...]:
        """The steps of one model; one that occurs several times is numbered: expose-1, expose-2."""
        before = () if spec.search is None else self.search
        steps = self.steps
        if self.rollout_after:
            place = steps.index(self.rollout_after) + 1
            steps = (*steps[:place], *_rollout_steps(spec.rollout), *steps[place:])
        return (*before, *steps, *self.afterwards)

    @property
    def verbs(self) -> tuple[str, ...]:
        """Every step that a model's pipeline may have."""
        rollout = (*APPROVAL, EXPOSE) if self.rollout_after else ()
        return (*self.search, *self.steps, *rollout, *self.afterwards)


PIPELINES: Mapping[str, Pipeline] = {
    pipeline.name: pipeline
    for pipeline in (
        Pipeline("ingest", ("ingest", "validate"), windowed=True),
        Pipeline(
            "training",
            ("train", "evaluate", "package", "register"),
            search=("open_search", "tune"),
            afterwards=("report",),
        ),
        Pipeline(
            "release",
            ("gate", "stage", "commit", "reconcile"),
            after="training",
            rollout_after="stage",
        ),
        Pipeline(
            "monitoring",
            ("score", "join_labels", "monitor", "decide_retrain", "verdict"),
            windowed=True,
        ),
        Pipeline("scoring", ("batch_score",), windowed=True),
        Pipeline("maintenance", ("maintenance",)),
        Pipeline("rollback", ("roll_back", "reconcile")),
        Pipeline("drill", ("drill",)),
    )
}
# Of the command line alone: a person decides, and no DAG stands for it.
_BY_HAND = (Pipeline("adoption", ("adopt", "reconcile")),)


def pipeline_of(step: str) -> Pipeline:
    """The pipeline that a step belongs to."""
    return next(pipeline for pipeline in (*PIPELINES.values(), *_BY_HAND) if step in pipeline.verbs)


def verb_of(name: str) -> tuple[str, dict[str, JsonValue]]:
    """The verb of a step of `steps_of`, and the parameters that its number stands for."""
    match = _STAGE.fullmatch(name)
    return (EXPOSE, {"stage": int(match.group(1)) - 1}) if match else (name, {})


def stage_title(rollout: RolloutSpec, stage: int) -> str:
    """What a stage is called by people: "canary at 5 %", "A/B test at 50 %"."""
    kind = {"ab": "A/B test"}.get(rollout.strategy, rollout.strategy)
    return f"{kind} at {rollout.planned[stage].weight * 100:.4g} %"


def _rollout_steps(rollout: RolloutSpec) -> tuple[str, ...]:
    asked = APPROVAL if rollout.approval is not None else ()
    return (*asked, *(f"{EXPOSE}-{number + 1}" for number in range(len(rollout.planned))))
