"""A search stops when its CPU hours are spent, whoever of its workers spent them."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from search_line import SEARCH, run, searching
from training_line import Line

from ferryman.registry.mlflow_connection import connect
from ferryman.runtime.messages import StepResult
from ferryman.training.search_meter import METER_SECONDS, spent_seconds

BURN = """

def burn(params, seed):
    import time
    from pathlib import Path

    until = time.process_time() + (600 if Path({marker!r}).exists() else 0.7)
    while time.process_time() < until:
        pass
    return build(params, seed)
"""
BUDGET = 4.0  # CPU seconds


@pytest.fixture
def burning(line: Line, tmp_path: Path) -> Line:
    """`rain` with a search of many trials, each of which burns 0.7 CPU seconds, or hours."""
    pipeline = line.model.folder / "pipeline.py"
    pipeline.write_text(pipeline.read_text() + BURN.format(marker=str(tmp_path / "long")))
    file = line.model.file
    file.write_text(file.read_text().replace("pipeline.py:build", "pipeline.py:burn"))
    text = SEARCH.replace("workers: 1", "workers: 2").replace("trials: 6", "trials: 500")
    return searching(line, f"{text}  budget: {{cpu_hours: {BUDGET / 3600:.7f}}}\n")


def start_worker(line: Line, worker: int) -> subprocess.Popen[bytes]:
    settings = line.settings
    given = {
        "FERRYMAN_ROOT": settings.root, "FERRYMAN_HOME": settings.home,
        "FERRYMAN_ZOO": settings.zoo, "FERRYMAN_SOURCE_ROOT": settings.source_root,
        "FERRYMAN_CODE_VERSION": settings.code_version,
    }  # fmt: skip
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "ferryman.cli", "run", "tune", "--model", "rain"),
            *("--run-id", "s1", "-p", f"worker={worker}"),
        ],
        env={**os.environ, **{name: str(value) for name, value in given.items()}},
        stdout=subprocess.PIPE,
    )


def unwritten(process: psutil.Process, spent: float) -> float:
    used = process.cpu_times()
    return used.user + used.system - spent


def study_folder(opened: StepResult) -> Path:
    return Path(str(opened.outputs["study"]))


def test_two_workers_stop_at_one_budget(burning: Line):
    opened = run(burning, "open_search")["open_search"]
    workers = [start_worker(burning, number) for number in range(2)]
    told = [worker.communicate(timeout=300)[0].decode() for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0], told
    assert all("CPU hours is spent" in text for text in told), told
    spent = spent_seconds(study_folder(opened))
    trained = run(burning, "train")["train"]
    trial = trained.outputs["trial"]
    assert isinstance(trial, dict)
    # What runs at the end of the budget is finished: a trial of each worker, at most.
    assert BUDGET <= spent < BUDGET + 2 * 3.0
    assert 2 <= int(str(trial["of"])) <= BUDGET / 0.7 + 2
    assert "CPU hours is spent" in str(trial["stopped"])
    searched = connect(burning.settings.mlflow_uri).get_run(str(trial["mlflow_run_id"]))
    assert "CPU hours is spent" in searched.data.tags["ferryman.search_stopped"]


def test_what_a_killed_worker_spent_is_not_forgotten(burning: Line, tmp_path: Path):
    opened = run(burning, "open_search")["open_search"]
    folder = study_folder(opened)
    (tmp_path / "long").touch()
    worker = start_worker(burning, 0)
    deadline = time.monotonic() + 200
    process, gaps = psutil.Process(worker.pid), [0.0]
    while (spent := spent_seconds(folder)) < BUDGET + 1:
        assert worker.poll() is None
        assert time.monotonic() < deadline
        if spent:
            gaps.append(unwritten(process, spent))
        time.sleep(0.05)
    last = unwritten(process, spent_seconds(folder))
    worker.send_signal(signal.SIGKILL)
    worker.communicate()
    assert spent_seconds(folder) >= spent
    # Its start belongs to no worker yet; of the rest no more than a second or two is missing.
    assert last - gaps[1] < 2 * METER_SECONDS
    (tmp_path / "long").unlink()
    other = run(burning, "tune")["tune"]
    # The dead worker had spent all of it, so that nobody draws a trial any more.
    assert other.metrics["trials"] == 1
    assert other.metrics["failed"] == 1
    assert "CPU hours is spent" in str(other.outputs["reason"])
