"""Objects in memory: for tests and notebooks."""

import io
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import BinaryIO

from ferryman.runtime.object_store import check_key, check_name


class MemoryObjectStore:
    """Keeps objects as long as it lives, for the threads of one process."""

    def __init__(self) -> None:
        self._objects: dict[str, tuple[bytes, datetime]] = {}
        self._lock = Lock()

    def create(self, key: str, content: bytes | Path) -> bool:
        """See ObjectStore.create."""
        given = content if isinstance(content, bytes) else content.read_bytes()
        with self._lock:
            if check_key(key) in self._objects:
                return False
            self._objects[key] = (given, datetime.now(UTC))
            return True

    def read(self, key: str) -> bytes | None:
        """See ObjectStore.read."""
        found = self._objects.get(check_name(key))
        return found[0] if found else None

    def open(self, key: str) -> BinaryIO | None:
        """See ObjectStore.open."""
        content = self.read(key)
        return None if content is None else io.BytesIO(content)

    def size(self, key: str) -> int | None:
        """See ObjectStore.size."""
        content = self.read(key)
        return None if content is None else len(content)

    def modified(self, key: str) -> datetime | None:
        """See ObjectStore.modified."""
        found = self._objects.get(check_name(key))
        return found[1] if found else None

    def keys(self, prefix: str) -> list[str]:
        """See ObjectStore.keys."""
        with self._lock:
            return sorted(key for key in self._objects if key.startswith(_below(prefix)))

    def delete(self, key: str) -> None:
        """See ObjectStore.delete."""
        with self._lock:
            self._objects.pop(check_key(key), None)

    def sweep(self, before: datetime, *, remove: bool) -> list[str]:  # noqa: ARG002 - the port's
        """See ObjectStore.sweep: nothing is ever left over."""
        return []

    def uri(self, key: str) -> str:
        """See ObjectStore.uri."""
        return f"memory:///{key}"


def _below(prefix: str) -> str:
    return f"{prefix}/" if prefix else ""
