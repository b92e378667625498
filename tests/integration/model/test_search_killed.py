"""A worker of a search is killed in the middle of a fit: one trial is lost, and no more."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from search_line import SEARCH, run, searching
from training_line import Line

from ferryman.runtime.messages import StepResult
from ferryman.steps.journey import Journey
from ferryman.training.search_study import SearchStudy

SLOW = """

def slow(params, seed):
    import time
    from pathlib import Path

    marker = Path({marker!r})
    if marker.exists():
        marker.with_name("fitting").touch()
        time.sleep(600)
    return build(params, seed)
"""


@pytest.fixture
def slow(line: Line, tmp_path: Path) -> Line:
    """`rain` with a search for two workers, whose fits hang while a file is there."""
    pipeline = line.model.folder / "pipeline.py"
    marker = tmp_path / "hang"
    pipeline.write_text(pipeline.read_text() + SLOW.format(marker=str(marker)))
    file = line.model.file
    file.write_text(file.read_text().replace("pipeline.py:build", "pipeline.py:slow"))
    return searching(line, SEARCH.replace("workers: 1", "workers: 2"))


def killed_worker(line: Line, folder: Path, worker: int) -> None:
    """Start a worker as a process of its own and kill it inside its first fit."""
    settings = line.settings
    given = {
        "FERRYMAN_ROOT": settings.root, "FERRYMAN_HOME": settings.home,
        "FERRYMAN_ZOO": settings.zoo, "FERRYMAN_SOURCE_ROOT": settings.source_root,
        "FERRYMAN_CODE_VERSION": settings.code_version,
    }  # fmt: skip
    (folder / "hang").touch()
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "ferryman.cli", "run", "tune", "--model", "rain"),
            *("--run-id", "s1", "-p", f"worker={worker}"),
        ],
        env={**os.environ, **{name: str(value) for name, value in given.items()}},
    )
    deadline = time.monotonic() + 120
    while not (folder / "fitting").exists():
        assert process.poll() is None, "the worker ended by itself"
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    (folder / "hang").unlink()


def study_of(line: Line, opened: StepResult) -> SearchStudy:
    return SearchStudy(Path(str(opened.outputs["study"])), line.model.spec.search, 7)  # type: ignore[arg-type]


def test_the_other_worker_draws_the_lost_point_again(slow: Line, tmp_path: Path):
    from ferryman.registry.mlflow_connection import connect

    opened = run(slow, "open_search")["open_search"]
    killed_worker(slow, tmp_path, worker=1)
    study = study_of(slow, opened)
    assert [trial.state for trial in study.trials()] == ["running"]
    journey = Journey(slow.settings, slow.model)
    [other] = journey.run("tune", run_id="s1", params={"worker": 0})
    assert other.metrics["trials"] == 6
    trained = run(slow, "train")["train"]
    states = [trial.state for trial in study.trials()]
    assert states == ["lost", *["complete"] * 6]
    assert study.trials()[0].params == study.trials()[1].params
    assert trained.outputs["trial"]["of"] == 7  # type: ignore[index, call-overload]
    client = connect(slow.settings.mlflow_uri)
    parent = client.get_run(opened.outputs["mlflow_run_id"])
    assert parent.data.metrics["lost_trials"] == 1
    children = client.search_runs(
        [parent.info.experiment_id],
        filter_string=f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'",
    )
    told = {int(child.data.tags["ferryman.trial"]): child.info.status for child in children}
    assert told == {0: "KILLED", **dict.fromkeys(range(1, 7), "FINISHED")}


def test_the_same_worker_continues_where_it_was_killed(slow: Line, tmp_path: Path):
    opened = run(slow, "open_search")["open_search"]
    killed_worker(slow, tmp_path, worker=0)
    [again] = Journey(slow.settings, slow.model).run("tune", run_id="s1", params={"worker": 0})
    assert (again.metrics["trials"], again.metrics["failed"]) == (7, 1)
    assert [trial.state for trial in study_of(slow, opened).trials()].count("complete") == 6
