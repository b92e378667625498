"""A step's cost is kept, of a failed try too; a ledger that is away fails no step."""

import logging
from pathlib import Path

import pytest

from ferryman.errors import DataRejected
from ferryman.ledger.costs import CostTable
from ferryman.runtime.messages import StepRequest
from ferryman.runtime.run_store import run_folder
from ferryman.settings import Settings
from ferryman.steps.step_costs import cost_kept


def request(settings: Settings, step: str, **more: object) -> StepRequest:
    run = str(run_folder(settings.runs_root, "tiny", "training", "r1"))
    return StepRequest.model_validate(
        {"model": "tiny", "step": step, "run_id": "r1", "run_uri": run, "spec_digest": "d", **more}
    )


def test_every_try_has_a_row(tmp_path: Path) -> None:
    settings = Settings(root=tmp_path, home=tmp_path / "home")
    for error in (DataRejected("few rows"), KeyError("a mistake")):
        with pytest.raises(type(error)), cost_kept(request(settings, "train"), settings):
            raise error
    with cost_kept(request(settings, "tune", params={"worker": 1}), settings):
        pass
    found = CostTable(settings.ledger_url).read("tiny")
    assert [(one.pipeline, one.step, one.outcome) for one in found] == [
        ("training", "train", "exit 3"),
        ("training", "train", "KeyError"),
        ("training", "tune/worker-1", "done"),
    ]
    assert all(one.seconds > 0 and one.peak_memory > 1_000_000 for one in found)


def test_a_ledger_that_is_away_fails_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    settings = Settings(
        root=tmp_path, home=tmp_path / "home", ledger_url=f"sqlite:///{tmp_path}/file/ledger.db"
    )
    with (
        caplog.at_level(logging.WARNING),
        cost_kept(request(settings, "train"), settings) as costing,
    ):
        costing.result = None
    assert "is not kept" in caplog.text
