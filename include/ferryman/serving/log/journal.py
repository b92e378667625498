"""The journal of the prediction log: what was answered and is in no Parquet file yet.

Posted labels have journals of their own, which differ by their ending only.

A killed process loses what it had not handed to the kernel, a fraction of a second. The owner of a
journal holds a lock on it while it writes; a journal without one, closed or of a dead process, is
turned into Parquet by whoever looks next (see finish). Parquet files carry the journal's name: made
twice, they are one.
"""

import fcntl
import os
import re
import time
from contextlib import suppress
from itertools import count
from pathlib import Path

JOURNALS = ".journals"
# What a journal holds, by the end of its name: answers, or labels that were posted.
ANSWERS, LABELS = ".journal", ".labels"
_NOT_PLAIN = re.compile(r"[^A-Za-z0-9_]+")


class Journal:
    """One journal file, which is made with the first frame. Of one thread."""

    _numbers = count(1)

    def __init__(self, root: Path, replica: str, ending: str = ANSWERS) -> None:
        plain = _NOT_PLAIN.sub("_", replica) or "server"
        self.name = f"{time.time_ns()}-{plain}-{os.getpid()}-{next(self._numbers)}"
        self.rows = self.size = 0
        self.begun = 0.0
        self._file = root / JOURNALS / f"{self.name}{ending}"
        self._handle: int | None = None
        self._is_named = False

    def append(self, frame: bytes, rows: int) -> None:
        """Add a frame; OSError where the disk takes no more, with nothing of it kept."""
        if self._handle is None:
            self._handle = _make_locked(self._file)
            self.begun = time.monotonic()
        try:
            rest = memoryview(frame)
            while rest:
                rest = rest[os.write(self._handle, rest) :]
        except OSError:
            os.ftruncate(self._handle, self.size)
            os.lseek(self._handle, self.size, os.SEEK_SET)
            if not self.size:
                self._file.unlink(missing_ok=True)
                self._let_go()
            raise
        self.size += len(frame)
        self.rows += rows

    def sync(self) -> None:
        """Wait until all that was added is on the disk, the file's name as well; OSError."""
        if self._handle is None:
            return
        os.fdatasync(self._handle)
        if not self._is_named:
            folder = os.open(self._file.parent, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
            self._is_named = True

    def close(self) -> None:
        """Write no more: the file is left to whoever makes Parquet of it."""
        self._let_go()

    def _let_go(self) -> None:
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


def others(root: Path, own: Journal) -> list[Path]:
    """The journals that are there but for one's own, also those of replicas that live."""
    return [file for file in journals(root) if file.stem != own.name]


def journals(root: Path) -> list[Path]:
    """Every journal of a folder, of either kind, the oldest first."""
    files = (root / JOURNALS).glob("*.*")
    return sorted(file for file in files if file.suffix in (ANSWERS, LABELS))


def journals_size(root: Path) -> int:
    """The bytes of all journals."""
    found = 0
    for file in journals(root):
        with suppress(FileNotFoundError):  # finished just now
            found += file.stat().st_size
    return found


def _make_locked(file: Path) -> int:
    """A new file with our lock on it. Whoever finishes may meet it before the lock: again then."""
    file.parent.mkdir(parents=True, exist_ok=True)
    while True:
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
        fcntl.flock(handle, fcntl.LOCK_EX)
        if os.fstat(handle).st_nlink:
            return handle
        os.close(handle)
