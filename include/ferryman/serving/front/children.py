"""Keeps as many replicas alive as are wanted: starts, weighs, pings, and replaces them."""

import asyncio
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from ferryman.errors import DependencyUnavailable
from ferryman.serving.front.fleet import Fleet, Member

_ROUND_SECONDS = 0.25
_PING_SECONDS = 1.0
_HANG_PINGS = 10
_LEAVE_SECONDS = 40.0
_OVERWEIGHT_SECONDS = 3.0
_STEADY_SECONDS = 10.0
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.2, 10.0
_MIB = 2**20

logger = logging.getLogger(__name__)


class Children:
    """Supervision of a fleet. Without a `command` replicas come by themselves.

    `command` gives the command line of a replica by name. `memory` is in bytes.
    """

    def __init__(
        self, fleet: Fleet, wanted: int, memory: int, command: Callable[[str], Sequence[str]] | None
    ) -> None:
        self.wanted = wanted
        self._failed = 0
        self.starts = command is not None
        self._fleet = fleet
        self.memory = memory
        self._command = command
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._started: dict[str, float] = {}
        self._deadlines: dict[Member, float] = {}
        self._pause = 0.0
        self._not_before = 0.0
        self._pinged = 0.0
        self._pings: set[asyncio.Task[None]] = set()
        self.changed = asyncio.Event()
        self.last_words = ""

    @property
    def restarts(self) -> int:
        """Replicas that had to be started again."""
        return self._failed + self._fleet.lost

    def wait_before_start(self, seconds: float) -> None:
        """Start nothing for a while: replicas of a front that has gone are still to come."""
        self._not_before = time.monotonic() + seconds

    async def supervise(self) -> None:
        """Go round until cancelled."""
        while True:
            self._reap()
            self._fill()
            self._watch()
            self.changed.clear()
            try:
                async with asyncio.timeout(_ROUND_SECONDS):
                    await self.changed.wait()
            except TimeoutError:
                continue

    async def scale(self, wanted: int, leave: Sequence[str]) -> None:
        """Have so many replicas; returns when the new ones are ready and the others have gone.

        Raises DependencyUnavailable (exit 6) when they are not in time.
        """
        self.wanted = wanted
        self._retire(leave)
        self.changed.set()
        leaving = self._fleet.in_state("leaving")
        deadline = time.monotonic() + _LEAVE_SECONDS + 20
        while any(not member.gone.is_set() for member in leaving) or self._lacks_ready():
            if time.monotonic() > deadline:
                ready = len(self._fleet.in_state("ready"))
                raise DependencyUnavailable(
                    f"{ready} of {wanted} replicas are ready", remedy="Read the server's log."
                )
            await asyncio.sleep(0.02)

    def end(self, member: Member, reason: str) -> None:
        """End a replica at once."""
        logger.error("replica %s (pid %d) is ended: %s", member.name, member.pid, reason)
        _kill(member.pid)
        member.channel.close()

    async def end_all(self, seconds: float) -> None:
        """Send all away, and end those that stay longer."""
        members = list(self._fleet.members.values())
        for member in members:
            self._fleet.send_away(member, "the server ends")
        deadline = time.monotonic() + seconds
        while self._alive(members) and time.monotonic() < deadline:
            await asyncio.sleep(0.01)
        for member in members:
            if not member.gone.is_set():
                self.end(member, f"it did not end within {seconds:.0f} s")
        for process in self._processes.values():
            if process.poll() is None:
                process.kill()
            process.wait()

    def _alive(self, members: Sequence[Member]) -> bool:
        processes = any(process.poll() is None for process in self._processes.values())
        return processes or any(not member.gone.is_set() for member in members)

    def _lacks_ready(self) -> bool:
        return self.starts and len(self._fleet.in_state("ready")) < self.wanted

    def _retire(self, first: Sequence[str] = ()) -> None:
        """Send away what is more than wanted: those named, then the last ones."""
        staying = sorted(
            self._fleet.in_state("ready", "joining"),
            key=lambda member: (member.name not in first, -_number(member.name)),
        )
        surplus = len(staying) - self.wanted
        for member in staying[: max(surplus, 0)]:
            self._fleet.send_away(member, f"{self.wanted} replicas are wanted")

    def _reap(self) -> None:
        for name, process in list(self._processes.items()):
            code = process.poll()
            if code is None:
                continue
            del self._processes[name]
            member = self._fleet.members.get(name)
            joined = member is not None and member.pid == process.pid
            if code != 0:
                self._died(name, process.pid, code)
                self._failed += not joined and process.pid not in self._fleet.seen

    def _died(self, name: str, pid: int, code: int) -> None:
        lived = time.monotonic() - self._started.pop(name, time.monotonic())
        longer = min(self._pause * 2 or _SHORTEST_PAUSE, _LONGEST_PAUSE)
        self._pause = 0.0 if lived > _STEADY_SECONDS else longer
        self._not_before = time.monotonic() + self._pause
        ended = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
        self.last_words = f"replica {name} (pid {pid}) ended {ended} after {lived:.1f} s"
        logger.error("%s; the next one starts in %.1f s", self.last_words, self._pause)

    def _fill(self) -> None:
        if self._command is None or time.monotonic() < self._not_before:
            return
        self._retire()
        staying = {member.name for member in self._fleet.in_state("ready", "joining")}
        coming = {name for name in self._processes if name not in self._fleet.members}
        missing = self.wanted - len(staying | coming)
        names = (f"r{number}" for number in range(1, 1000))
        taken = staying | coming | self._fleet.members.keys() | self._processes.keys()
        for _ in range(missing):
            name = next(name for name in names if name not in taken)
            self._start(name, self._command(name))

    def _start(self, name: str, command: Sequence[str]) -> None:
        process = subprocess.Popen(list(command), stdin=subprocess.DEVNULL, close_fds=True)
        self._processes[name] = process
        self._started[name] = time.monotonic()

    def _watch(self) -> None:
        now = time.monotonic()
        ping = now - self._pinged >= _PING_SECONDS
        if ping:
            self._pinged = now
            self._fleet.forget()
        for member in list(self._fleet.members.values()):
            if member.unanswered > _HANG_PINGS:
                self.end(member, f"it has not answered for {_HANG_PINGS * _PING_SECONDS:.0f} s")
                continue
            if member.state == "leaving":
                self._hasten(member, now)
            elif ping:
                self._weigh(member, now)
            if ping:
                member.unanswered += 1
                task = asyncio.get_running_loop().create_task(_ping(member))
                self._pings.add(task)
                task.add_done_callback(self._pings.discard)
        for member in [one for one in self._deadlines if one.gone.is_set()]:
            del self._deadlines[member]

    def _hasten(self, member: Member, now: float) -> None:
        deadline = self._deadlines.setdefault(member, now + _LEAVE_SECONDS)
        if now > deadline:
            self.end(member, "it did not leave in time")

    def _weigh(self, member: Member, now: float) -> None:
        used = resident_bytes(member.pid) if self.memory else 0
        if used > self.memory:
            reason = (
                f"it uses {used / _MIB:.0f} MiB of memory, more than the declared "
                f"{self.memory / _MIB:.0f} MiB (resources.memory)"
            )
            logger.error("replica %s (pid %d) is replaced: %s", member.name, member.pid, reason)
            self.last_words = f"replica {member.name} was replaced: {reason}"
            self._failed += 1
            self._deadlines[member] = now + _OVERWEIGHT_SECONDS
            self._fleet.send_away(member, reason)


def resident_bytes(pid: int) -> int:
    """Memory that a process holds; 0 where it has gone or cannot be seen."""
    try:
        pages = Path(f"/proc/{pid}/statm").read_bytes().split()[1]
        return int(pages) * os.sysconf("SC_PAGESIZE")
    except (OSError, IndexError):
        return 0


async def _ping(member: Member) -> None:
    try:
        await member.channel.ask({"kind": "ping"}, _HANG_PINGS * _PING_SECONDS)
        member.unanswered = 0  # an answer goes to who asked, past the fleet
    except DependencyUnavailable as error:
        logger.debug("replica %s: %s", member.name, error)


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError) as error:
        logger.warning("process %d cannot be ended: %s", pid, error)


def _number(name: str) -> int:
    """The number in a name of ours; one that was given otherwise comes after all of them."""
    digits = name.removeprefix("r")
    return int(digits) if digits.isdecimal() else sys.maxsize
