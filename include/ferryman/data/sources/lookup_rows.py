"""The rows of a lookup table: read once for the life of a source, however many threads ask."""

from collections.abc import Callable
from threading import Lock

from ferryman.data.sources.source import SourceRows


class LookupRows:
    """Keeps what the first reading gave; a reading that failed is tried again."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._rows: SourceRows | None = None

    def get(self, read: Callable[[], SourceRows]) -> SourceRows:
        """The kept rows, or those that `read` gives now."""
        with self._lock:
            if self._rows is None:
                self._rows = read()
            return self._rows
