"""The child process of a replica that turns its journals into Parquet."""

import subprocess
import sys
import time
from pathlib import Path
from typing import Protocol

import orjson

from ferryman.serving.log.finish import Result

_LONGEST_SECONDS = 300.0


class Run(Protocol):
    """One attempt to finish journals."""

    def result(self) -> Result | None:
        """What came of it; None as long as it is under way."""


class Child:
    """`python -m ferryman.serving.log.finish` for a folder, under way.

    It goes on when the replica dies. OSError where no process can be started.
    """

    def __init__(self, root: Path, *, upload: bool) -> None:
        command = [sys.executable, "-m", "ferryman.serving.log.finish", str(root)]
        if upload:
            command.append("--upload")
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, start_new_session=True
        )
        self._until = time.monotonic() + _LONGEST_SECONDS

    def result(self) -> Result | None:
        """What it said at its end; a problem where it was killed, or hung and is killed now."""
        status = self._process.poll()
        if status is None:
            if time.monotonic() < self._until:
                return None
            self._process.kill()
            status = self._process.wait()
        with self._process:
            said = self._process.stdout.read() if self._process.stdout else b""
        try:
            return Result(**orjson.loads(said))
        except (ValueError, TypeError):
            return Result(problems=[f"the process that makes Parquet files ended with {status}"])
