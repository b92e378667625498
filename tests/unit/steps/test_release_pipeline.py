"""The steps of a release follow from the declared rollout; each stage has a place of its own."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ferryman.runtime.messages import StepRequest
from ferryman.runtime.run_store import step_folder
from ferryman.spec.rollout import RolloutSpec
from ferryman.steps.contract import load_step
from ferryman.steps.pipelines import PIPELINES, pipeline_of, stage_title, verb_of

ASKED = {"approvers": ["bea"]}


def _steps(**rollout: Any) -> tuple[str, ...]:
    spec: Any = SimpleNamespace(search=None, rollout=RolloutSpec.model_validate(rollout))
    return PIPELINES["release"].steps_of(spec)


@pytest.mark.parametrize(
    ("rollout", "between"),
    [
        ({}, ()),
        ({"approval": ASKED}, ("propose", "approve")),
        ({"strategy": "canary"}, ("expose-1", "expose-2", "expose-3")),
        ({"strategy": "ab", "approval": ASKED}, ("propose", "approve", "expose-1")),
        ({"strategy": "shadow"}, ("expose-1",)),
    ],
)
def test_what_is_declared_stands_between_stage_and_commit(
    rollout: dict[str, Any], between: tuple[str, ...]
) -> None:
    assert _steps(**rollout) == ("gate", "stage", *between, "commit", "reconcile")


def test_every_step_of_a_release_is_a_verb_that_can_be_run() -> None:
    for name in _steps(strategy="canary", approval=ASKED):
        verb, params = verb_of(name)
        assert pipeline_of(verb).name == "release"
        load_step(verb).Params.model_validate(params)


@pytest.mark.parametrize("name", ["expose", "expose-0", "expose-x", "expose-1-2", "expose-100"])
def test_what_is_no_numbered_stage_is_no_stage(name: str) -> None:
    assert verb_of(name) == (name, {})


def test_each_stage_has_its_own_folder_in_a_run(tmp_path: Path) -> None:
    def folder(name: str) -> str:
        verb, params = verb_of(name)
        return step_folder(
            StepRequest(
                model="tiny",
                step=verb,
                run_id="r",
                run_uri=str(tmp_path),
                params=params,
                spec_digest="0",
            )
        ).name

    names = ("gate", "stage", "expose-1", "expose-2", "commit")
    assert tuple(folder(name) for name in names) == names


def test_stages_are_called_by_their_share() -> None:
    canary = RolloutSpec.model_validate(
        {"strategy": "canary", "stages": [{"weight": 0.005}, {"weight": 0.25}]}
    )
    assert [stage_title(canary, stage) for stage in (0, 1)] == ["canary at 0.5 %", "canary at 25 %"]
    assert stage_title(RolloutSpec(strategy="ab"), 0) == "A/B test at 50 %"
    assert stage_title(RolloutSpec(strategy="shadow"), 0) == "shadow at 100 %"
