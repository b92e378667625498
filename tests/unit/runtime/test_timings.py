"""What a step cost is kept beside its result, and is no part of it."""

from pathlib import Path

import pytest

from ferryman.errors import IntegrityBroken
from ferryman.runtime.messages import StepRequest
from ferryman.runtime.timings import TIMING, Stopwatch, cpu_seconds, run_timings, timed


def request(run: Path, step: str) -> StepRequest:
    return StepRequest(model="rain", step=step, run_id="r", run_uri=str(run), spec_digest="d")


def test_steps_are_timed_in_the_order_of_their_beginning(tmp_path: Path) -> None:
    for step in ("train", "evaluate"):
        with timed(request(tmp_path, step)):
            until = cpu_seconds() + 0.01
            while cpu_seconds() < until:
                pass
    found = run_timings(tmp_path)
    assert list(found) == ["train", "evaluate"]
    assert found["train"].started < found["evaluate"].started
    assert all(one.cpu_seconds >= 0.01 for one in found.values())
    assert all(one.seconds >= one.cpu_seconds * 0.5 for one in found.values())
    assert run_timings(tmp_path / "nothing") == {}


def test_a_step_that_fails_keeps_no_timing(tmp_path: Path) -> None:
    with pytest.raises(KeyError), timed(request(tmp_path, "train")):
        raise KeyError
    assert run_timings(tmp_path) == {}


def test_what_is_no_timing_is_named(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / TIMING).write_text('{"seconds": "many"}')
    with pytest.raises(IntegrityBroken, match=r"train/timing\.json: not a timing"):
        run_timings(tmp_path)


def test_a_stopwatch_goes_on(tmp_path: Path) -> None:
    watch = Stopwatch()
    first = watch.read()
    assert 0 <= first.seconds <= watch.read().seconds


def test_each_block_has_a_peak_of_its_own() -> None:
    peaks = []
    for size in (1, 200_000_000, 1):
        watch = Stopwatch()
        held = bytearray(b"x") * size
        peaks.append(watch.read().peak_memory)
        del held
    assert peaks[1] > max(peaks[0], peaks[2]) + 150_000_000
