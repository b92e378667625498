"""Brings finished files of the prediction log from a folder to where they belong, such as a bucket.

Of several processes that share the folder one does it at a time; a lock goes over by itself when
its holder dies. A file is created once under the name that it has in the folder, then removed from
there: brought twice, it is one.
"""

import fcntl
import logging
import os
from contextlib import suppress
from pathlib import Path

from ferryman.runtime.object_store import ObjectStore

_LOCK = ".upload.lock"
_DAYS = ("*/date=*", "*/labels/received=*")

logger = logging.getLogger(__name__)


def upload_waiting(root: Path, store: ObjectStore, *, wait: bool = False) -> int:
    """Bring all files that wait to a place; how many went.

    While another process is at it, none: that is for the next time; or, where asked, this one waits
    for its turn. Raises DependencyUnavailable (exit 6) when the place is away.
    """
    lock = _take_lock(root, wait=wait)
    if lock is None:
        return 0
    try:
        files = waiting(root)
        for file in files:
            _bring(root, file, store)
        return len(files)
    finally:
        os.close(lock)


def waiting(root: Path) -> list[Path]:
    """The finished files of a folder, the oldest first."""
    # The folders of days: of predictions, of posted labels.
    found = [file for days in _DAYS for file in root.glob(f"{days}/[!.]*.parquet")]
    return sorted(found, key=lambda file: file.name)


def waiting_size(root: Path) -> int:
    """The bytes of the finished files of a folder."""
    found = 0
    for file in waiting(root):
        with suppress(FileNotFoundError):  # brought away just now
            found += file.stat().st_size
    return found


def _bring(root: Path, file: Path, store: ObjectStore) -> None:
    key = file.relative_to(root).as_posix()
    with suppress(FileNotFoundError):  # the former holder of the lock was quicker
        if not store.create(key, file):
            logger.warning("%s was there already", store.uri(key))
        file.unlink()


def _take_lock(root: Path, *, wait: bool) -> int | None:
    """The lock of those who upload from a folder, or None while another has it."""
    root.mkdir(parents=True, exist_ok=True)
    handle = os.open(root / _LOCK, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    return handle
