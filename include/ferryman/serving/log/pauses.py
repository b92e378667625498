"""How long to wait before what failed is tried again."""

import time

_SHORTEST, _LONGEST = 1.0, 60.0


class Pauses:
    """1, 2, 4 ... 60 seconds after attempts that failed, one after the other.

    `first`: seconds before the first attempt. `problem`: why the last one failed, or empty.
    """

    def __init__(self, first: float) -> None:
        self.problem = ""
        self._pause = 0.0
        self._not_before = time.monotonic() + first

    @property
    def is_over(self) -> bool:
        """Whether it may be tried now."""
        return time.monotonic() >= self._not_before

    def skip_first(self) -> None:
        """Somebody waits: try at once, unless the last attempt failed."""
        if not self._pause:
            self._not_before = 0.0

    def ended(self, problem: str) -> None:
        """An attempt came to its end."""
        self.problem = problem
        self._pause = min(max(self._pause * 2, _SHORTEST), _LONGEST) if problem else 0.0
        self._not_before = time.monotonic() + self._pause
