"""The front of a server as a process: found by what it remembers of itself, and ended whole."""

import fcntl
import logging
import os
import signal
from contextlib import suppress
from pathlib import Path

import psutil
from pydantic import BaseModel, ConfigDict

from ferryman.runtime.files import read_json
from ferryman.runtime.json_logs import message_of
from ferryman.runtime.serving_command import FRONT_LOCK, FRONT_STATE, MODULE

_TERM_SECONDS = 20.0
_KILL_SECONDS = 5.0
_LOG_BYTES = 20_000
# A boot's clock may be corrected by a little; pids are not reused that fast.
_SAME_START_SECONDS = 2.0

logger = logging.getLogger(__name__)


class FrontState(BaseModel):
    """What a front writes of itself; the start time tells a reused pid apart."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    pid: int
    started: float
    group: int
    port: int
    admin_port: int


class FrontProcess:
    """The front whose state is in `root`, and the replicas that it or its forerunner started."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._file = root / FRONT_STATE

    def running(self) -> FrontState | None:
        """The front that remembered itself last, when it still is that process."""
        try:
            state = FrontState.model_validate(read_json(self._file))
            process = psutil.Process(state.pid)
            if abs(process.create_time() - state.started) >= _SAME_START_SECONDS:
                return None
            if process.status() == psutil.STATUS_ZOMBIE:
                _bury(process)
                return None
            return state
        except (FileNotFoundError, ValueError, psutil.NoSuchProcess):
            return None

    def is_locked(self) -> bool:
        """Whether a front runs, or is about to: an orphaned replica may have started it."""
        try:
            with (self._root / FRONT_LOCK).open() as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False

    def members(self) -> list[psutil.Process]:
        """The living processes of this server: their command lines name its folder."""
        root, found = str(self._root.resolve()), []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                command = process.cmdline()
                if MODULE in command and root in command:
                    found.append(process)
        return found

    def end(self) -> None:
        """TERM to the front and time to finish; then TERM and KILL to what is left."""
        state = self.running()
        if state is not None:
            logger.info("stopping the front %d", state.pid)
            _end([psutil.Process(state.pid)], signal.SIGTERM, _TERM_SECONDS)
        left = self.members()
        for number, seconds in ((signal.SIGTERM, _TERM_SECONDS), (signal.SIGKILL, _KILL_SECONDS)):
            left = _end(left, number, seconds) if left else []
        self._file.unlink(missing_ok=True)

    def last_line(self, log: Path) -> str:
        """What the server said last."""
        text = log.read_bytes()[-_LOG_BYTES:].decode(errors="replace").strip()
        return message_of(text.splitlines()[-1]) if text else "no output"


def _end(
    processes: list[psutil.Process], number: signal.Signals, seconds: float
) -> list[psutil.Process]:
    """Signal them; those that live on."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)  # psutil checks the start time before it sends
    _, alive = psutil.wait_procs(processes, timeout=seconds)
    for process in alive:
        logger.warning("process %d did not end on %s in %.0f s", process.pid, number.name, seconds)
    return alive


def _bury(process: psutil.Process) -> None:
    """Our own child, ended: nobody else can bury it."""
    with suppress(psutil.Error, ChildProcessError):
        os.waitpid(process.pid, os.WNOHANG)
