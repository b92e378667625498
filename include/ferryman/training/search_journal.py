"""Where the trials of a search are kept: Optuna's journal, with locks that die with their holder.

Optuna's own lock is a file: whoever is killed while holding it stops all others for half a minute.
These locks are the kernel's. They work among the processes of one machine, and on file systems
that share flock.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from optuna.storages import JournalStorage

JOURNAL = "trials.journal"


def open_journal(folder: Path) -> "JournalStorage":
    """Optuna's storage on the journal of a folder; made where there is none."""
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    file = folder / JOURNAL
    lock = cast(Any, _JournalLock(file))  # optuna calls two methods; their base is not public
    return JournalStorage(JournalFileBackend(str(file), lock_obj=lock))


@contextmanager
def held(file: Path) -> Iterator[None]:
    """Hold a lock, waiting for it."""
    with file.open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def try_hold(file: Path) -> IO[str] | None:
    """Take a lock if nobody has it; it is held until what is returned is closed."""
    lock = file.open("a")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        return None
    return lock


class _JournalLock:
    """The lock of a journal's appends; whoever gets it first removes a half-written line."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._held: IO[str] | None = None

    def acquire(self) -> bool:
        lock = self._file.with_name(f".{self._file.name}.lock").open("a")
        fcntl.flock(lock, fcntl.LOCK_EX)
        self._held = lock
        _drop_half_line(self._file)
        return True

    def release(self) -> None:
        if self._held is not None:
            self._held.close()
            self._held = None


def _drop_half_line(file: Path) -> None:
    """Cut off what a killed process left after the last line's end; readers never saw it."""
    with file.open("r+b") as journal:
        size = journal.seek(0, os.SEEK_END)
        if size == 0:
            return
        journal.seek(-1, os.SEEK_END)
        if journal.read(1) != b"\n":
            journal.seek(0)
            journal.truncate(journal.read().rfind(b"\n") + 1)
