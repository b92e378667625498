"""When journals are finished: one attempt at a time, and after a failure later and later."""

import time
from collections.abc import Callable
from typing import Protocol

from ferryman.serving.log.child import Run
from ferryman.serving.log.finish import Result

_FIRST_SECONDS = 3.0  # what the dead left waits until models are loaded
_SHORTEST, _LONGEST = 1.0, 60.0


class Beside(Protocol):
    """Closes journals of another kind where it is time, or at once."""

    def __call__(self, *, at_once: bool = False) -> bool:
        """Whether something is to be finished."""
        ...


def nothing_beside(*, at_once: bool = False) -> bool:  # noqa: ARG001 - see Beside
    """For a log that has no such journals."""
    return False


class Finishing:
    """Attempts to finish journals. Of one thread.

    `is_due`: something waits to be finished. `problem`: why the last attempt failed, or empty.
    """

    def __init__(self, begin: Callable[[], Run]) -> None:
        self.is_due = False
        self.problem = ""
        self._begin = begin
        self._run: Run | None = None
        self._pause = 0.0
        self._not_before = time.monotonic() + _FIRST_SECONDS

    @property
    def is_running(self) -> bool:
        """Whether an attempt is under way."""
        return self._run is not None

    def hurry(self) -> None:
        """Somebody waits: try at once, unless the last attempt failed."""
        if not self._pause:
            self._not_before = 0.0

    def start(self, *, at_once: bool = False) -> bool:
        """Begin an attempt where one is due and it is time, or at once; whether one began."""
        if not self.is_due or self._run:
            return False
        if not at_once and time.monotonic() < self._not_before:
            return False
        self.is_due = False
        try:
            self._run = self._begin()
        except Exception as error:  # noqa: BLE001 - told, and tried again
            self._run = _Failed(f"no process can be started: {error}")
        return True

    def result(self) -> Result | None:
        """What came of an attempt that has ended; what failed is due again after a pause.

        1, 2, 4 ... 60 seconds.
        """
        result = self._run.result() if self._run else None
        if result is None:
            return None
        self._run = None
        self.problem = "; ".join(result.problems)
        failed = bool(self.problem)
        self.is_due = self.is_due or failed
        self._pause = min(max(self._pause * 2, _SHORTEST), _LONGEST) if failed else 0.0
        self._not_before = time.monotonic() + self._pause
        return result


class _Failed:
    """An attempt that could not begin."""

    def __init__(self, problem: str) -> None:
        self._result = Result(problems=[problem])

    def result(self) -> Result:
        return self._result
