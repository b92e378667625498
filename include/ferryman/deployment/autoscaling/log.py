"""What an autoscaler keeps beside its server: every decision, its memory, and its turn."""

import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import ValidationError

from ferryman.deployment.autoscaling.decision import Decision, Memory
from ferryman.errors import LostRace
from ferryman.runtime.files import space_errors, write_atomic

LOG = "autoscaling.jsonl"
_OLD_LOG = "autoscaling.jsonl.1"
_MEMORY = "autoscaling.json"
_LOCK = "autoscaling.lock"
_MOST_BYTES = 4 << 20  # a file; there are two: days of decisions at one in ten seconds

logger = logging.getLogger(__name__)


class AutoscalingFiles:
    """The files of one server's autoscaler, in the server's folder."""

    def __init__(self, root: Path, *, most_bytes: int = _MOST_BYTES) -> None:
        self._root, self._most_bytes = root, most_bytes

    def append(self, decision: Decision) -> None:
        """Add a decision to the log; the file before the present one is kept, older ones go.

        Raises DependencyUnavailable (exit 6) when the disk is full.
        """
        file = self._root / LOG
        line = decision.model_dump_json(exclude_defaults=True).encode() + b"\n"
        with space_errors(file, need=len(line)):
            self._root.mkdir(parents=True, exist_ok=True)
            if file.exists() and file.stat().st_size + len(line) > self._most_bytes:
                file.replace(self._root / _OLD_LOG)
            with file.open("ab+", buffering=0) as stream:
                # Half a line, of a writer that was killed, may not swallow this one.
                if stream.tell() and not _ends_a_line(stream.fileno(), stream.tell()):
                    line = b"\n" + line
                stream.write(line)

    def decisions(self, last: int) -> list[Decision]:
        """The last decisions, oldest first; a damaged line is left out, and said in our log."""
        lines: list[bytes] = []
        for name in (_OLD_LOG, LOG):
            file = self._root / name
            if file.is_file():
                lines += file.read_bytes().splitlines()
        found = []
        for line in [line for line in lines if line][-last:]:
            try:
                found.append(Decision.model_validate_json(line))
            except ValidationError:
                logger.warning("a damaged line of %s is left out", self._root / LOG)
        return found

    def memory(self) -> Memory:
        """What the last decision left; nothing, said in our log, where that cannot be read."""
        file = self._root / _MEMORY
        try:
            return Memory.model_validate_json(file.read_bytes())
        except FileNotFoundError:
            return Memory()
        except ValidationError:
            logger.warning("%s is damaged: autoscaling begins anew, nothing goes soon", file)
            return Memory()

    def remember(self, memory: Memory) -> None:
        """Keep the memory for the next decision, whichever process takes it."""
        write_atomic(self._root / _MEMORY, memory.model_dump_json().encode())

    @contextmanager
    def turn(self, server: str) -> Iterator[None]:
        """One autoscaler a server at a time; LostRace (exit 8) for the second one.

        The kernel gives the turn back at any death of its holder.
        """
        self._root.mkdir(parents=True, exist_ok=True)
        with (self._root / _LOCK).open("a+") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.seek(0)
                raise LostRace(
                    f"server {server!r} has an autoscaler already (pid {lock.read(20) or '?'})",
                    remedy="Let it work, or end it first.",
                ) from None
            lock.truncate(0)
            lock.write(str(os.getpid()))
            lock.flush()
            yield


def _ends_a_line(file: int, size: int) -> bool:
    return os.pread(file, 1, size - 1) == b"\n"
