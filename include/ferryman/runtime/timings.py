"""How long steps took: <run>/<step>/timing.json, beside the result and no part of it.

A result names later requests by its digest, so a figure that differs from run to run stays outside.
"""

import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from pydantic import AwareDatetime, ValidationError

from ferryman.errors import IntegrityBroken
from ferryman.runtime.files import read_json, write_json
from ferryman.runtime.messages import Message, StepRequest
from ferryman.runtime.run_store import step_folder

TIMING = "timing.json"


class Timing(Message):
    """When a step ran, and what it cost: seconds by the clock, and of all cores together."""

    started: AwareDatetime
    seconds: float
    cpu_seconds: float


class Stopwatch:
    """Seconds by the clock and of the processor, children that ended included."""

    def __init__(self) -> None:
        self._started = datetime.now(UTC)
        self._clock, self._cpu = time.perf_counter(), cpu_seconds()

    def read(self) -> Timing:
        """What has passed since the start."""
        return Timing(
            started=self._started,
            seconds=time.perf_counter() - self._clock,
            cpu_seconds=cpu_seconds() - self._cpu,
        )


def cpu_seconds() -> float:
    """Seconds of the processor that this process and its ended children have used."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in used)


@contextmanager
def timed(request: StepRequest) -> Iterator[None]:
    """Keep what the block costs as the step's timing; of a block that fails nothing is kept."""
    watch = Stopwatch()
    yield
    write_json(step_folder(request) / TIMING, watch.read().model_dump(mode="json"))


def run_timings(run: Path) -> dict[str, Timing]:
    """The timings of a run's steps, in the order in which they began; empty where there is none.

    Raises IntegrityBroken (exit 7) for a file that is no timing.
    """
    found: dict[str, Timing] = {}
    for file in run.glob(f"*/{TIMING}"):
        try:
            found[file.parent.name] = Timing.model_validate(read_json(file))
        except (ValueError, ValidationError) as error:
            raise IntegrityBroken(f"{file}: not a timing: {str(error)[:200]}") from error
    return dict(sorted(found.items(), key=lambda one: one[1].started))
