"""What MLflow shows of a training that failed or was killed, and of one that went on after all."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from training_line import Line

from ferryman.errors import FerrymanError
from ferryman.registry.mlflow_connection import connect
from ferryman.runtime.run_store import run_folder
from ferryman.spec.loader import load_model

# What the pipeline of these tests meets, beside its folder: nothing of its code changes.
LUCK = """

_build = build


def build(*given, **more):
    import os
    from pathlib import Path

    luck = Path({luck!r}).read_text()
    if luck == "bad":
        raise ValueError("the moon is not right")
    if luck == "none":
        os.kill(os.getpid(), 9)
    return _build(*given, **more)
"""


class Trainings:
    """Trainings of `rain` that fail, end or die as a file says."""

    def __init__(self, line: Line, folder: Path) -> None:
        self.luck = folder / "luck"
        pipeline = line.model.folder / "pipeline.py"
        pipeline.write_text(pipeline.read_text() + LUCK.format(luck=str(self.luck)))
        self.line = Line(line.settings, load_model(line.model.folder))

    def runs(self) -> list[Any]:
        client = connect(self.line.settings.mlflow_uri)
        place = client.get_experiment_by_name("rain")
        found: list[Any] = client.search_runs([place.experiment_id])
        return found

    def told(self) -> list[tuple[str, str]]:
        return [(run.info.status, run.data.tags.get("ferryman.failed", "")) for run in self.runs()]

    def make_old(self, run: Path) -> None:
        """Of a run nothing was written, and in MLflow all began, two days ago."""
        then = time.time() - 2 * 86_400
        for path in [run, *run.rglob("*")]:
            os.utime(path, (then, then))
        database = self.line.settings.mlflow_uri.removeprefix("sqlite:///")
        with sqlite3.connect(database) as known:
            known.execute("UPDATE runs SET start_time = ?", (int(then * 1000),))
        known.close()

    def maintain(self) -> str:
        return self.line.run("maintenance", run_id="m")["maintenance"].text


@pytest.fixture
def trainings(line: Line, tmp_path: Path) -> Trainings:
    return Trainings(line, tmp_path)


def test_a_fit_that_fails_is_failed_with_its_reason_and_may_be_done_again(
    trainings: Trainings,
) -> None:
    trainings.luck.write_text("bad")
    with pytest.raises(Exception, match="the moon is not right"):
        trainings.line.run("train")
    [(status, why)] = trainings.told()
    assert status == "FAILED"
    assert "the moon is not right" in why
    [failed] = trainings.runs()
    assert failed.info.end_time >= failed.info.start_time
    trainings.luck.write_text("good")
    trainings.line.run("train")
    assert trainings.told() == [("RUNNING", "")]
    assert trainings.runs()[0].info.run_id == failed.info.run_id


def test_a_killed_training_is_ended_by_maintenance_a_day_later(trainings: Trainings) -> None:
    settings = trainings.line.settings
    trainings.luck.write_text("none")
    environment = {
        **os.environ,
        "FERRYMAN_HOME": str(settings.home),
        "FERRYMAN_ZOO": str(settings.zoo),
        "FERRYMAN_SOURCE_ROOT": str(settings.source_root),
        "FERRYMAN_CODE_VERSION": "test",
    }
    command = [sys.executable, "-m", "ferryman.cli", "run", "training", "--model", "rain"]
    ended = subprocess.run(
        [*command, "--run-id", "k"], env=environment, capture_output=True, check=False
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert trainings.told() == [("RUNNING", "")]
    assert "unfinished" not in trainings.maintain()
    assert trainings.told() == [("RUNNING", "")]
    trainings.make_old(run_folder(settings.runs_root, "rain", "training", "k"))
    assert "1 unfinished training run(s) ended in MLflow" in trainings.maintain()
    [(status, why)] = trainings.told()
    assert status == "KILLED"
    assert why.startswith("killed: nothing was written since ")
    assert "unfinished" not in trainings.maintain()


def test_what_fails_after_the_fit_is_told_by_its_step(trainings: Trainings) -> None:
    trainings.luck.write_text("good")
    trained = trainings.line.run("train")["train"]
    model = Path(str(trained.outputs["model_file"]))
    model.write_bytes(b"no model")
    with pytest.raises(FerrymanError):
        trainings.line.run("train", "evaluate")
    assert trainings.told() == [("RUNNING", "")]
    folder = trainings.line.settings.runs_root / "rain" / "training" / "r1"
    trainings.make_old(folder)
    trainings.maintain()
    [(status, why)] = trainings.told()
    assert (status, why.partition(":")[0]) == ("FAILED", "evaluate")
