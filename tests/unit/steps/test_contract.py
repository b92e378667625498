"""The step contract: parameters are checked, a finished request is not done again."""

import shutil
import sys
from pathlib import Path
from types import ModuleType

import pytest

from ferryman.errors import DataRejected, SpecError
from ferryman.runtime.files import read_json
from ferryman.runtime.messages import StepRequest, StepResult
from ferryman.runtime.run_store import finished_result, run_folder, step_folder
from ferryman.settings import Settings
from ferryman.spec.loader import load_model
from ferryman.steps.contract import StepContext, StepParams, load_step, run_step

TINY = Path(__file__).parents[2] / "zoo" / "tiny"


class Counting(ModuleType):
    """A real step module that counts how often it ran."""

    class Params(StepParams):
        rate: float = 0.1

    def __init__(self) -> None:
        super().__init__("ferryman.steps.train")
        self.runs = 0
        self.fail: Exception | None = None

    def run(self, context: StepContext) -> StepResult:
        self.runs += 1
        if self.fail is not None:
            raise self.fail
        return context.result(text=f"ran with {context.params.rate}")  # type: ignore[attr-defined]


@pytest.fixture
def step(monkeypatch: pytest.MonkeyPatch) -> Counting:
    module = Counting()
    monkeypatch.setitem(sys.modules, "ferryman.steps.train", module)
    return module


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    shutil.copytree(TINY, tmp_path / "zoo" / "tiny")
    return Settings(root=tmp_path, home=tmp_path / "home", zoo=tmp_path / "zoo")


def request_for(settings: Settings, **changes: object) -> StepRequest:
    values: dict[str, object] = {
        "model": "tiny",
        "step": "train",
        "run_id": "r1",
        "run_uri": str(run_folder(settings.runs_root, "tiny", "training", "r1")),
        "spec_digest": "d",
        **changes,
    }
    return StepRequest.model_validate(values)


def test_the_same_request_is_done_once(step: Counting, settings: Settings) -> None:
    model = load_model(settings.zoo / "tiny")
    first = run_step(request_for(settings), model, settings)
    again = run_step(request_for(settings), model, settings)
    assert first == again
    assert step.runs == 1
    run_step(request_for(settings, params={"rate": 0.5}), model, settings)
    assert step.runs == 2


def test_a_step_that_looks_at_the_world_looks_again(
    monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    module = Counting()
    monkeypatch.setitem(sys.modules, "ferryman.steps.reconcile", module)
    model, request = load_model(settings.zoo / "tiny"), request_for(settings, step="reconcile")
    run_step(request, model, settings)
    run_step(request, model, settings)
    assert module.runs == 2


def test_a_failure_is_kept_beside_and_gone_after_success(
    step: Counting, settings: Settings
) -> None:
    model = load_model(settings.zoo / "tiny")
    request = request_for(settings)
    step.fail = DataRejected("column 'a' is text")
    with pytest.raises(DataRejected):
        run_step(request, model, settings)
    assert read_json(step_folder(request) / "error.json")["exit_code"] == 3
    assert finished_result(request) is None
    step.fail = None
    run_step(request, model, settings)
    assert not (step_folder(request) / "error.json").exists()


@pytest.mark.parametrize(
    ("params", "text"),
    [({"rat": 1}, "did you mean 'rate'"), ({"rate": "x"}, "valid number"), ({"z" * 5000: 1}, "z")],
)
def test_unknown_and_mistyped_parameters_exit_2(
    step: Counting, settings: Settings, params: dict[str, object], text: str
) -> None:
    with pytest.raises(SpecError, match=text) as caught:
        run_step(request_for(settings, params=params), load_model(TINY), settings)
    assert len(caught.value.text) < 300
    assert step.runs == 0


def test_an_unknown_step_is_told_the_nearest() -> None:
    with pytest.raises(SpecError, match="did you mean 'train'"):
        load_step("trian")


def test_run_ids_become_legal_and_distinct_folders(tmp_path: Path) -> None:
    ids = ["../../etc", "a/b", "a_b", "manual__2026-01-01T00:00:00+00:00", "x" * 500, "."]
    folders = [run_folder(tmp_path, "tiny", "training", name) for name in ids]
    assert len(set(folders)) == len(ids)
    assert all(folder.parent == tmp_path / "tiny" / "training" for folder in folders)
