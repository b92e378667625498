"""Where the trials of a search are kept: Optuna's journal, with locks that die with their holder.

Optuna's own lock is a file: whoever is killed while holding it stops all others for half a minute.
These locks are the kernel's. They work among the processes of one machine, and on file systems
that share flock. Nor is the disk waited for after each line, which cost more than all else of a
trial: a killed process loses nothing by that, a machine without power its last trials.
"""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optuna.storages import JournalStorage

JOURNAL = "trials.journal"


def open_journal(folder: Path) -> "JournalStorage":
    """Optuna's storage on the journal of a folder; made where there is none."""
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    file, lock = folder / JOURNAL, folder / f".{JOURNAL}.lock"

    class Journal(JournalFileBackend):
        def append_logs(self, logs: list[dict[str, Any]]) -> None:
            lines = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs)
            with held(lock):
                _drop_half_line(file)
                with file.open("ab") as journal:
                    journal.write(lines.encode())

    return JournalStorage(Journal(str(file)))


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


def _drop_half_line(file: Path) -> None:
    """Cut off what a killed process left after the last line's end; readers never took it in."""
    with file.open("r+b") as journal:
        size = journal.seek(0, os.SEEK_END)
        if size == 0:
            return
        journal.seek(-1, os.SEEK_END)
        if journal.read(1) != b"\n":
            journal.seek(0)
            journal.truncate(journal.read().rfind(b"\n") + 1)
