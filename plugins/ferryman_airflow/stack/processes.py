"""Starts the stack's processes, each in a session of its own, and ends them to the last child."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from ferryman.runtime.files import read_json, write_json

_SAME_START = 1.0  # seconds that two readings of one start time may differ


@dataclass(frozen=True)
class Running:
    """A process that was started: pid and start time name it for ever, pids come again."""

    name: str
    pid: int
    started: float

    def process(self) -> psutil.Process | None:
        """The living process, or None when it has ended (whoever has its pid now)."""
        try:
            found = psutil.Process(self.pid)
            same = abs(found.create_time() - self.started) < _SAME_START
            alive = same and found.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return None
        return found if alive else None


class ProcessGroup:
    """The processes of one stack, remembered in a file so that a later command can end them."""

    def __init__(self, state_file: Path, logs: Path) -> None:
        self.state_file = state_file
        self.logs = logs
        self.running: dict[str, Running] = {}
        self._commands: dict[str, tuple[Sequence[str], dict[str, str]]] = {}
        self._children: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, command: Sequence[str], environment: dict[str, str]) -> Running:
        """Start a process; its output goes to <logs>/<name>.log."""
        self.logs.mkdir(parents=True, exist_ok=True)
        with (self.logs / f"{name}.log").open("ab") as log:
            child = subprocess.Popen(
                list(command),
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                close_fds=True,
            )
        self._children[name] = child
        self._commands[name] = (command, environment)
        self.running[name] = Running(name, child.pid, psutil.Process(child.pid).create_time())
        self._save()
        return self.running[name]

    def restart(self, name: str, *, alone: bool = False) -> Running:
        """Start an ended process again with the command that it had.

        What it left behind in its session is ended first, unless it is restarted `alone`.
        """
        if not alone:
            self._end([self.running[name]], grace=2)
        return self.start(name, *self._commands[name])

    def ended(self) -> dict[str, int]:
        """Exit codes of processes that have ended, by name."""
        codes = {name: child.poll() for name, child in self._children.items()}
        return {name: code for name, code in codes.items() if code is not None}

    def stop(self, first: str = "", grace: float = 15.0) -> None:
        """End everything, `first` before the others: TERM, and KILL to what outlives the grace.

        Only `first`'s own process gets the TERM, so that it can let its children finish.
        """
        if first in self.running:
            leader = self.running[first].process()
            if leader is not None:
                _signal(leader, signal.SIGTERM)
                self._wait([self.running[first]], grace)
        self._end(list(self.running.values()), grace)
        self.running.clear()
        self._children.clear()
        self.state_file.unlink(missing_ok=True)

    def adopt(self) -> list[Running]:
        """Take over what an earlier launcher left in the state file; those still in memory."""
        if self.state_file.is_file():
            for entry in read_json(self.state_file)["processes"]:
                self.running[entry["name"]] = Running(**entry)
        return [one for one in self.running.values() if session_members([one])]

    def launcher(self) -> psutil.Process | None:
        """The living process that wrote the state file."""
        if not self.state_file.is_file():
            return None
        return Running(**read_json(self.state_file)["launcher"]).process()

    def _save(self) -> None:
        entries = [asdict(one) for one in self.running.values()]
        me = Running("launcher", os.getpid(), psutil.Process().create_time())
        write_json(self.state_file, {"processes": entries, "launcher": asdict(me)})

    def _end(self, targets: Sequence[Running], grace: float) -> None:
        for member in session_members(targets):
            _signal(member, signal.SIGTERM)
        left = self._wait(targets, grace)
        for member in left:
            _signal(member, signal.SIGKILL)
        psutil.wait_procs(left, timeout=5)
        for child in self._children.values():
            child.poll()

    def _wait(self, targets: Sequence[Running], grace: float) -> list[psutil.Process]:
        """Wait until the sessions are empty; who is still there after the grace."""
        members = session_members(targets)
        deadline = time.monotonic() + grace
        while members and time.monotonic() < deadline:
            for child in self._children.values():
                child.poll()  # a zombie of ours would look alive
            time.sleep(0.1)
            members = session_members(targets, known=members)
        return members


def session_members(
    targets: Iterable[Running], known: Iterable[psutil.Process] = ()
) -> list[psutil.Process]:
    """Living processes of the sessions that were started, their descendants, and those known.

    A session's number is its first process's pid; it is not given away while a member lives. A
    member is never older than the session's start.
    """
    sessions = {one.pid: one.started - _SAME_START for one in targets}
    found: dict[int, psutil.Process] = {process.pid: process for process in known}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, ProcessLookupError, PermissionError):
            session = os.getsid(process.pid)
            if session in sessions and process.create_time() >= sessions[session]:
                found[process.pid] = process
                for child in process.children(recursive=True):
                    found[child.pid] = child
    return [process for process in found.values() if _alive(process)]


def _alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        process.send_signal(number)  # psutil checks the start time before it sends
