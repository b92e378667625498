"""The replicas that have joined a front: who gets the next connection, and what all are told."""

import asyncio
import logging
import os
import socket
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from itertools import count
from typing import Any, Literal

from ferryman.errors import DependencyUnavailable
from ferryman.serving.sockets.channel import Channel, Message
from ferryman.serving.sockets.turns import count_turn

MemberState = Literal["joining", "ready", "leaving"]

STAY = 64  # requests that a connection stays with one replica, while there are several
SILENT_PINGS = 3  # one a second
_WAITING = 4096
_FORGOTTEN = 0.1
_LEAST_BIAS, _MOST_BIAS = 2.0, 0.4

logger = logging.getLogger(__name__)


class Member:
    """One replica, as its front knows it."""

    def __init__(self, name: str, pid: int, channel: Channel) -> None:
        self.name = name
        self.pid = pid
        self.channel = channel
        self.state: MemberState = "joining"
        self.has = 0
        self.given = 0
        self.got = 0
        self.turn = 0
        self.answered = 0
        self.forgiven = 0.0
        self.unanswered = 0
        self.served: dict[str, int] = {}
        self.problems: dict[str, str] = {}
        self.gone = asyncio.Event()
        self.reason = ""

    @property
    def connections(self) -> int:
        """Connections that it has, and those on their way to it."""
        return self.has + self.given - self.got

    @property
    def hangs(self) -> bool:
        """Whether it has not been heard for longer than a pause explains.

        Pings are counted, not seconds: a front that got no time itself must not blame others.
        """
        return self.unanswered > SILENT_PINGS

    def count(self, message: Message) -> None:
        """Take over what it says of its connections."""
        self.has, self.got = message["has"], message["got"]
        self.answered = message["answered"]

    @property
    def work(self) -> float:
        """Requests that it has answered of late, in stays of a connection."""
        return (self.answered - self.forgiven) / STAY


class Fleet:
    """All members, and the connections that wait for one.

    `on_ready` is called with a member that has loaded what it can, and must settle it before it
    gets connections; `on_change` when one came or went.
    """

    def __init__(
        self,
        listener: socket.socket,
        welcome: Message,
        on_ready: Callable[[Member], None],
        on_change: Callable[[], None],
        merged_page: Callable[[], Any],
    ) -> None:
        self.members: dict[str, Member] = {}
        self.connections_taken = 0
        self.lost = 0
        self.seen: set[int] = set()
        self._listener = listener
        self._welcome = welcome
        self._on_ready = on_ready
        self._on_change = on_change
        self._merged_page = merged_page
        self._turns = count(1)
        self._waiting: deque[tuple[int, bool]] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self.ending = False

    def in_state(self, *states: MemberState) -> list[Member]:
        """The members in one of these states."""
        return [member for member in self.members.values() if member.state in states]

    def meet(self, sock: socket.socket, packet: bytes = b"") -> None:
        """Somebody connected to the channel: a member as soon as it says who it is.

        `packet` is what was read of it already.
        """
        found: list[Member] = []

        def hear(message: Message, descriptor: int | None) -> None:
            if found:
                self._hear(found[0], message, descriptor)
            elif message["kind"] == "hello" and self.ending:
                channel.send({"kind": "leave", "hand_back": False})
            elif message["kind"] == "hello":
                found.append(self._join(channel, message, descriptor))

        channel = Channel(sock, hear, lambda: self._part(found[0]) if found else None)
        if packet:
            channel.take(packet, None)

    def give(self, descriptor: int, *, handed_back: bool = False) -> None:
        """Give a connection to the member with the fewest; it waits while there is none.

        A member that has `handed_back` a connection keeps hold of it until its turn is counted.
        """
        ready = self.in_state("ready")
        able = [member for member in ready if not member.hangs] or ready
        if not able:
            self._wait(descriptor, handed_back)
            return
        if handed_back:
            count_turn(descriptor)
        member = _least_loaded(able)
        member.turn = next(self._turns)
        member.given += 1
        member.channel.send({"kind": "take"}, descriptor)

    async def ask_all(
        self, members: Iterable[Member], message: Message, seconds: float
    ) -> dict[Member, Any]:
        """The answer, or the exception, of each."""
        asked = list(members)
        answers = await asyncio.gather(
            *(member.channel.ask(message, seconds) for member in asked), return_exceptions=True
        )
        return dict(zip(asked, answers, strict=True))

    def admit(self, member: Member) -> None:
        """Let a member have connections from now on."""
        if member.state == "joining":
            others = self.in_state("ready")
            mean = sum(one.work for one in others) / max(len(others), 1)
            member.forgiven = member.answered - mean * STAY
            member.state = "ready"
            logger.info("replica %s (pid %d) is ready", member.name, member.pid)
        self._share()
        while self._waiting and member.state == "ready":
            descriptor, handed_back = self._waiting.popleft()
            self.give(descriptor, handed_back=handed_back)
        self._on_change()

    def forget(self) -> None:
        """Let what was answered long ago weigh less; to be called every second or so."""
        ready = self.in_state("ready")
        mean = sum(member.work for member in ready) / max(len(ready), 1)
        for member in ready:
            member.forgiven += (member.work - mean) * STAY * _FORGOTTEN

    def send_away(self, member: Member, reason: str) -> None:
        """Let a member hand back what it has, finish what is begun, and end."""
        if member.state != "leaving":
            logger.info("replica %s leaves: %s", member.name, reason)
            member.state, member.reason = "leaving", reason
            member.channel.send({"kind": "leave", "hand_back": not self.ending})
            self._share()

    def close(self) -> None:
        """Let go of connections that nobody took."""
        while self._waiting:
            self._drop(*self._waiting.popleft())

    def _wait(self, descriptor: int, handed_back: bool) -> None:
        if self.ending or len(self._waiting) >= _WAITING:
            self._drop(descriptor, handed_back)
        else:
            self._waiting.append((descriptor, handed_back))

    def _drop(self, descriptor: int, handed_back: bool) -> None:
        if handed_back:
            count_turn(descriptor)  # who still holds it lets go, too
        os.close(descriptor)

    def _share(self) -> None:
        """Connections go round only while there is somebody to go to."""
        ready = self.in_state("ready")
        for member in ready:
            member.channel.send({"kind": "stay", "requests": STAY if len(ready) > 1 else 0})

    def _join(self, channel: Channel, message: Message, descriptor: int | None) -> Member:
        member = Member(message["name"], channel.peer(), channel)
        if descriptor is not None:
            os.close(descriptor)  # an orphan's listening socket: this front has it already
        if member.name in self.members:
            # An orphan that comes after its replacement: one of them is too many, and is sent away.
            member.name = f"{member.name}.{member.pid}"
        member.count(message)
        self.seen.add(member.pid)
        self.members[member.name] = member
        channel.send(self._welcome, os.dup(self._listener.fileno()))
        if message["ready"]:
            self._ready(member, message)
        self._on_change()
        return member

    def _ready(self, member: Member, message: Message) -> None:
        member.served, member.problems = message["served"], message["problems"]
        self._on_ready(member)

    def _part(self, member: Member) -> None:
        if self.members.get(member.name) is member:
            del self.members[member.name]
        member.gone.set()
        if member.state != "leaving":
            self.lost += 1
        for descriptor in member.channel.undelivered:
            self.give(descriptor)
        self._share()
        self._on_change()

    def _hear(self, member: Member, message: Message, descriptor: int | None) -> None:
        member.unanswered = 0
        kind = message["kind"]
        if kind in ("back", "count"):
            member.count(message)
        if kind == "back" and descriptor is not None:
            self.give(descriptor, handed_back=True)
        elif kind == "ready":
            self._ready(member, message)
        elif kind == "leaving":
            self.send_away(member, "it was told to end")
        elif kind == "page":
            task = asyncio.get_running_loop().create_task(self._send_page(member, message))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _send_page(self, member: Member, message: Message) -> None:
        try:
            member.channel.answer(message, await self._merged_page())
        except DependencyUnavailable as error:
            member.channel.refuse(message, error)


def _least_loaded(members: Sequence[Member]) -> Member:
    """Who has the fewest connections, corrected by who has answered more than the others of late.

    Connections are not alike: a busy one counts as much as the work that it brings. The correction
    is bounded, so that a slow replica does not get more than it can bear.
    """
    size = len(members)
    connections = sum(member.connections for member in members) / size
    work = sum(member.work for member in members) / size
    bound = _LEAST_BIAS + _MOST_BIAS * connections

    def load(member: Member) -> tuple[float, int]:
        bias = min(max(member.work - work, -bound), bound)
        return member.connections + bias, member.turn

    return min(members, key=load)
