"""Brings finished files of the prediction log from a folder to where they belong, such as a bucket.

Of several processes that share the folder one does it at a time; a lock goes over by itself when
its holder dies. A file is created once under the name that it has in the folder, then removed from
there: brought twice, it is one.
"""

import fcntl
import logging
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from ferryman.runtime.object_store import ObjectStore

_LOCK = ".upload.lock"
_IDLE_SECONDS = 5.0
_SHORTEST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0
_CLOSE_SECONDS = 5.0
_POLL_SECONDS = 0.05

logger = logging.getLogger(__name__)


class LogUpload:
    """The thread that uploads. `limit`: bytes that may wait in the folder."""

    def __init__(self, root: Path, open_store: Callable[[], ObjectStore], limit: int) -> None:
        self._root = root
        self._open_store = open_store
        self._limit = limit
        self._store: ObjectStore | None = None
        self._lock: int | None = None
        self._pause = 0.0
        self._wake = threading.Event()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="prediction-upload", daemon=True)

    def start(self) -> None:
        """Begin with what is there already."""
        self._thread.start()

    @property
    def is_full(self) -> bool:
        """Whether no more files may wait in the folder."""
        sizes = []
        for file in self._waiting():
            with suppress(OSError):  # brought away just now
                sizes.append(file.stat().st_size)
        return sum(sizes) >= self._limit

    def wake(self) -> None:
        """There is a new file. A place that is away is not asked sooner for it."""
        self._wake.set()

    def wait(self, timeout: float) -> bool:
        """Whether all files that wait now are brought away within `timeout` seconds."""
        files = self._waiting()
        until = time.monotonic() + timeout
        while any(file.exists() for file in files):
            if time.monotonic() >= until:
                return False
            self._wake.set()
            time.sleep(_POLL_SECONDS)
        return True

    def close(self) -> None:
        """Bring away what can be at once, and end the thread; the rest stays for the next one."""
        self._closing = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout=_CLOSE_SECONDS)

    def _run(self) -> None:
        not_before = 0.0
        while True:
            closing = self._closing
            if closing or time.monotonic() >= not_before:
                try:
                    self._round()
                    self._pause = 0.0
                except Exception as error:  # noqa: BLE001 - told below
                    # Whatever it is, answers go on, and files wait for a better time.
                    self._pause = min(max(self._pause * 2, _SHORTEST_PAUSE), _LONGEST_PAUSE)
                    logger.error(
                        "predictions wait in %s, next attempt in %.0f s: %s",
                        self._root,
                        self._pause,
                        error,
                    )
                not_before = time.monotonic() + self._pause
            if closing:
                self._unlock()
                return
            self._wake.wait(_IDLE_SECONDS)
            self._wake.clear()

    def _round(self) -> None:
        files = self._waiting()
        if not files or not self._has_lock():
            return
        if self._store is None:
            self._store = self._open_store()
        for file in files:
            _bring(self._root, file, self._store)
            if self._closing and self._pause:
                return

    def _waiting(self) -> list[Path]:
        return _waiting(self._root)

    def _has_lock(self) -> bool:
        if self._lock is None:
            self._lock = _take_lock(self._root)
        return self._lock is not None

    def _unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def upload_waiting(root: Path, store: ObjectStore) -> int:
    """Bring all files that wait to a place; how many went, none while a server is at it itself.

    Raises DependencyUnavailable (exit 6) when the place is away.
    """
    lock = _take_lock(root)
    if lock is None:
        return 0
    try:
        files = _waiting(root)
        for file in files:
            _bring(root, file, store)
        return len(files)
    finally:
        os.close(lock)


def _bring(root: Path, file: Path, store: ObjectStore) -> None:
    key = file.relative_to(root).as_posix()
    with suppress(FileNotFoundError):  # the former holder of the lock was quicker
        if not store.create(key, file):
            logger.warning("%s was there already", store.uri(key))
        file.unlink()


def _waiting(root: Path) -> list[Path]:
    return sorted(root.glob("*/date=*/[!.]*.parquet"), key=lambda file: file.name)


def _take_lock(root: Path) -> int | None:
    """The lock of those who upload from a folder, or None while another has it."""
    root.mkdir(parents=True, exist_ok=True)
    handle = os.open(root / _LOCK, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    return handle
