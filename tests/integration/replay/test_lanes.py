"""Lanes run side by side; the first failure stops them all and is told as it was."""

import os
import signal
import time
from pathlib import Path

import pytest

from ferryman.errors import DataRejected, DependencyUnavailable
from ferryman.replay.lanes import KeepGoing, Task, run_lanes


def note(folder: Path, name: str, keep_going: KeepGoing) -> None:
    (folder / name).write_text(str(os.getpid()))


def after_the_other_began(folder: Path) -> None:
    give_up = time.monotonic() + 60
    while not (folder / "began").exists() and time.monotonic() < give_up:
        time.sleep(0.02)


def reject(folder: Path, keep_going: KeepGoing) -> None:
    after_the_other_began(folder)
    raise DataRejected("row 7 is cut", remedy="repair it")


def stumble(folder: Path, keep_going: KeepGoing) -> None:
    after_the_other_began(folder)
    raise ZeroDivisionError("a bug")


def vanish(folder: Path, keep_going: KeepGoing) -> None:
    after_the_other_began(folder)
    os.kill(os.getpid(), signal.SIGKILL)


def live_long(folder: Path, keep_going: KeepGoing) -> None:
    (folder / "began").touch()
    give_up = time.monotonic() + 60
    while keep_going() and time.monotonic() < give_up:
        time.sleep(0.02)
    (folder / "stopped").write_text(str(time.monotonic() < give_up))


def test_lanes_are_processes_and_tasks_of_a_lane_share_one(tmp_path) -> None:
    counts: list[int] = []
    lanes = [
        [Task(note, (tmp_path, "a1")), Task(note, (tmp_path, "a2"))],
        [Task(note, (tmp_path, "b1"))],
        [],
    ]
    run_lanes(lanes, counts.append)
    pids = {file.name: file.read_text() for file in tmp_path.iterdir()}
    assert pids["a1"] == pids["a2"] != pids["b1"]
    assert str(os.getpid()) not in pids.values()
    assert counts[-1] == 3
    assert counts == sorted(counts)


@pytest.mark.parametrize(
    ("failing", "error", "text"),
    [
        (reject, DataRejected, "row 7 is cut"),
        (stumble, RuntimeError, "ZeroDivisionError: a bug"),
        (vanish, DependencyUnavailable, "ended with code -9"),
    ],
)
def test_a_failure_stops_the_other_lane_and_is_raised(tmp_path, failing, error, text) -> None:
    with pytest.raises(error, match=text):
        run_lanes([[Task(live_long, (tmp_path,))], [Task(failing, (tmp_path,))]], lambda _: None)
    assert (tmp_path / "stopped").read_text() == "True"
