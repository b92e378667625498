"""What a killed server answered is in the log: nearly all of it, each row once."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from logged_requests import answered, files, logged, until

from ferryman.serving.log.finish import recover
from ferryman.serving.log.writer import PredictionLog
from ferryman.serving.models.onnx_model import OnnxModel

DRIVER = Path(__file__).with_name("log_driver.py")
LOST_SECONDS = 1.0  # the log thread wakes five times a second, on a busy machine less often


@pytest.fixture
def start(tmp_path: Path, model: OnnxModel, make_bundle: Any) -> Any:
    bundle = make_bundle(tmp_path / "bundles")
    running: list[subprocess.Popen[str]] = []

    def start(manner: str = "steady") -> subprocess.Popen[str]:
        command = [sys.executable, str(DRIVER), str(tmp_path / "log")]
        command += [str(bundle.folder), bundle.digest, manner]
        paths = {**os.environ, "PYTHONPATH": str(DRIVER.parents[2])}
        running.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=paths))
        return running[-1]

    yield start
    for process in running:
        process.kill()
        process.wait()
        if process.stdout:
            process.stdout.close()


def numbers_until_death(process: subprocess.Popen[str]) -> list[int]:
    assert process.stdout is not None
    return [int(line) for line in process.stdout if line.endswith("\n")]


def run_for(process: subprocess.Popen[str], seconds: float) -> tuple[int, int]:
    """Let it answer for a while and kill it: what it had answered a moment before, and at last."""
    assert process.stdout is not None
    first = int(process.stdout.readline())
    end = time.monotonic() + seconds
    before = last = first
    while time.monotonic() < end:
        last = int(process.stdout.readline())
        if time.monotonic() < end - LOST_SECONDS:
            before = last
    process.send_signal(signal.SIGKILL)
    return before, max([last, *numbers_until_death(process)])


def test_a_kill_loses_the_last_moment_at_most(start: Any, tmp_path: Path) -> None:
    before, last = run_for(start(), 3.0)
    assert before > 300
    log = tmp_path / "log"
    assert logged(log) == {}, "nothing was flushed yet: all of it is in the journal"
    rows = recover(log).rows
    found = logged(log)
    assert rows == len(found) and set(found.values()) == {1}
    assert {f"r{number}" for number in range(before + 1)} <= found.keys()
    assert len(found) <= last + 1
    assert not any(name.endswith(".journal") for name in files(log))
    assert recover(log).rows == 0


@pytest.mark.parametrize("manner", ["unremoved", "unrenamed"])
def test_a_kill_while_a_file_is_written_doubles_nothing(
    start: Any, tmp_path: Path, manner: str
) -> None:
    numbers_until_death(start(manner))
    log = tmp_path / "log"
    parquet = [name for name in files(log) if name.endswith(".parquet")]
    assert len(parquet) == (1 if manner == "unremoved" else 0)
    assert recover(log).rows >= 300
    found = logged(log)
    assert set(found.values()) == {1}
    assert {f"r{number}" for number in range(300)} <= found.keys()


def test_what_a_kill_tore_is_left_out(
    start: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run_for(start(), 1.5)
    (journal,) = (tmp_path / "log" / ".journals").iterdir()
    content = journal.read_bytes()
    journal.write_bytes(content[: len(content) - 100])
    assert recover(tmp_path / "log").rows > 100
    assert "torn bytes at its end left out" in caplog.text
    assert set(logged(tmp_path / "log").values()) == {1}


def test_a_replica_recovers_the_dead_and_leaves_the_living_alone(
    start: Any, tmp_path: Path, model: OnnxModel
) -> None:
    log = tmp_path / "log"
    dead, living = start(), start()
    run_for(dead, 1.5)
    assert living.stdout is not None
    living.stdout.readline()
    until(lambda: len(list((log / ".journals").iterdir())) == 2)
    replica = PredictionLog(log, lambda rows: pytest.fail(f"{rows} lost"), replica="new")
    replica.start()
    replica.put(answered(model, "mine", rows=2))
    assert replica.flush()
    assert logged(log)["mine"] == 2
    (journal,) = (log / ".journals").iterdir()
    assert f"-driver-{living.pid}-" in journal.name
    before, _ = run_for(living, 1.5)
    assert recover(log).rows > before
    replica.close()
