"""What a search has cost so far: CPU seconds by worker, written while the workers live.

A worker writes its own file every second, so that one that is killed has told of all but its last
second; the others read it, and count what it spent.
"""

import json
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ferryman.runtime.files import write_json
from ferryman.runtime.timings import live_cpu_seconds

METER_SECONDS = 1.0
_PATTERN = "spent-*.json"

logger = logging.getLogger(__name__)


def spent_seconds(folder: Path) -> float:
    """CPU seconds that all workers of a search have used, over all their tries."""
    return sum(_read(file) for file in folder.glob(_PATTERN))


@contextmanager
def metered(folder: Path, worker: int) -> Iterator[None]:
    """Within the block, keep what this process and its living children use as the worker's cost.

    A disk that takes nothing stops no search: what is spent is then written by a later second.
    """
    meter = _Meter(_file(folder, worker))
    thread = threading.Thread(target=meter.run, name=f"meter-{worker}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        meter.stop.set()
        thread.join()
        meter.write()


class _Meter:
    def __init__(self, file: Path) -> None:
        self.stop = threading.Event()
        self._file = file
        self._before, self._start = _read(file), live_cpu_seconds()
        self._most = 0.0
        self._failed = False

    def run(self) -> None:
        while not self.stop.wait(METER_SECONDS):
            self.write()

    def write(self) -> None:
        # A child between its end and its burial is in neither sum: what was spent stays spent.
        self._most = max(self._most, live_cpu_seconds() - self._start)
        try:
            write_json(self._file, {"cpu_seconds": self._before + self._most})
        except Exception as error:  # noqa: BLE001 - a thread of its own, and the search goes on
            if not self._failed:
                logger.warning("%s cannot be written: %s", self._file, error)
            self._failed = True


def _file(folder: Path, worker: int) -> Path:
    return folder / f"spent-{worker}.json"


def _read(file: Path) -> float:
    """0 for a file that is not there, or that holds no cost: it is written whole or not at all."""
    try:
        return float(json.loads(file.read_bytes())["cpu_seconds"])
    except FileNotFoundError:
        return 0.0
    except (OSError, ValueError, KeyError, TypeError) as error:
        logger.warning("%s tells no cost: %s", file, error)
        return 0.0
