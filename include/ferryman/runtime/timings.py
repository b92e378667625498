"""How long steps took: <run>/<step>/timing.json, beside the result and no part of it.

A result names later requests by its digest, so a figure that differs from run to run stays outside.
"""

import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from pydantic import AwareDatetime, ValidationError

from ferryman.errors import IntegrityBroken
from ferryman.runtime.files import read_json, write_json
from ferryman.runtime.messages import Message, StepRequest
from ferryman.runtime.run_store import step_folder

TIMING = "timing.json"


class Timing(Message):
    """When a step ran, and its cost: seconds by the clock and of all cores, most bytes held."""

    started: AwareDatetime
    seconds: float
    cpu_seconds: float
    peak_memory: int = 0


class Stopwatch:
    """Seconds by the clock and of the processor, children that ended included."""

    def __init__(self) -> None:
        self._started = datetime.now(UTC)
        self._largest_child = _largest_child()
        _forget_peak()
        self._clock, self._cpu = time.perf_counter(), cpu_seconds()

    def read(self) -> Timing:
        """What has passed since the start."""
        return Timing(
            started=self._started,
            seconds=time.perf_counter() - self._clock,
            cpu_seconds=cpu_seconds() - self._cpu,
            peak_memory=self._peak(),
        )

    def _peak(self) -> int:
        """Of this process, or of a child that was larger; not of both at once."""
        largest = _largest_child()
        own = _peak_memory()
        return max(own, largest) if largest > self._largest_child else own


def cpu_seconds() -> float:
    """Seconds of the processor that this process and its ended children have used."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in used)


def _largest_child() -> int:
    """Bytes that the largest child held that ever ended."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024


def _peak_memory() -> int:
    """Bytes that this process held at most since `_forget_peak`; since its start without Linux."""
    with suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _forget_peak() -> None:
    """Let the kernel count the peak anew: one process may run many steps, each with its own.

    Where that is not allowed, a step's peak is the highest of its process so far.
    """
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def live_cpu_seconds() -> float:
    """The same, with the children that live; those that are gone and not yet buried are left out.

    It looks through the machine's processes: for once a second, not for every row.
    """
    import psutil

    total = cpu_seconds()
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            used = child.cpu_times()
            total += used.user + used.system + used.children_user + used.children_system
    return total


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
