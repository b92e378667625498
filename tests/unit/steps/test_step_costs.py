"""A step's cost is kept, of a failed try too; a ledger that is away fails no step."""

import logging
from pathlib import Path
from typing import Any

import pytest

from ferryman.errors import DataRejected
from ferryman.ledger import engine
from ferryman.ledger.costs import CostTable
from ferryman.ledger.ledger import Ledger
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


@pytest.mark.parametrize("fault", ["away", "read-only", "full"])
def test_a_ledger_that_takes_no_cost_fails_nothing(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    fault: str,
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.chdir(tmp_path)
    Ledger(f"sqlite:///{tmp_path}/ledger.db")
    url = {
        "away": f"sqlite:///{tmp_path}/file/ledger.db",
        "read-only": f"sqlite:///file:{tmp_path}/ledger.db?mode=ro&uri=true",
        "full": f"sqlite:///{tmp_path}/ledger.db",
    }[fault]
    if fault == "full":
        monkeypatch.setattr(engine, "_on_sqlite_connect", _limited(engine._on_sqlite_connect))
    settings = Settings(root=tmp_path, home=tmp_path / "home", ledger_url=url)
    # Larger than what is left of a page.
    given = request(settings, "train", **({"model": "tiny" * 2000} if fault == "full" else {}))
    with caplog.at_level(logging.WARNING), cost_kept(given, settings) as costing:
        costing.result = None
    told = {"away": "cannot be made", "read-only": "readonly", "full": "full"}[fault]
    assert "its cost of" in caplog.text and told in caplog.text


def _limited(original: Any) -> Any:
    """A page limit stands in for the disk: SQLite reports both with the same error."""

    def connect(connection: Any, record: object) -> None:
        original(connection, record)
        connection.execute("PRAGMA max_page_count = 1")

    return connect
