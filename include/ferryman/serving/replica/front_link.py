"""A replica's tie to its front: connections come and go by it; an orphan accepts them itself."""

import asyncio
import fcntl
import logging
import os
import socket
import subprocess
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from ferryman.errors import DependencyUnavailable, PolicyRefused
from ferryman.serving.sockets.channel import Channel, Message
from ferryman.serving.sockets.handed_connections import Connections
from ferryman.serving.sockets.listening import Accepting
from ferryman.serving.sockets.turns import turns_of

_RETRY_SECONDS = 0.05
_FIRST_SECONDS = 20.0
_REVIVE_SECONDS = 5.0
_COUNT_SECONDS = 0.005
_HOLD_SECONDS = 0.05
_PAGE_SECONDS = 5.0

logger = logging.getLogger(__name__)

Handle = Callable[[Message], Awaitable[Any]]


class FrontLink:
    """Keeps the tie. `state` tells of the replica what a front must know when it joins.

    `path` is the front's socket; `handle` answers what the front asks; `on_leave` is called when
    the replica shall end.
    """

    def __init__(
        self,
        path: Path,
        connections: Connections,
        state: Callable[[], Message],
        handle: Handle,
        on_leave: Callable[[], None],
    ) -> None:
        # Called when the front is gone, and this replica goes on without it.
        self.on_orphaned: Callable[[], None] = lambda: None
        self._path = path
        self._connections = connections
        self._state = state
        self._handle = handle
        self._on_leave = on_leave
        self._loop = asyncio.get_running_loop()
        self._channel: Channel | None = None
        self._listener: socket.socket | None = None
        self._accepting: Accepting | None = None
        self._front_command: list[str] = []
        self._got = 0
        self._on_the_way: list[tuple[int, int]] = []
        self._counting = False
        self._ending = False
        self._finding = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._revived: subprocess.Popen[bytes] | None = None

    async def join(self) -> None:
        """Join the front; DependencyUnavailable (exit 6) when there is none in time."""
        deadline = time.monotonic() + _FIRST_SECONDS
        while not self._connect():
            if time.monotonic() > deadline:
                raise DependencyUnavailable(f"no front answers at {self._path}")
            await asyncio.sleep(_RETRY_SECONDS)

    def tell_ready(self) -> None:
        """Tell the front what is loaded."""
        self._send({"kind": "ready", **self._state()})

    def tell_leaving(self) -> None:
        """Tell the front that this replica was told to end by somebody else."""
        if self._channel is None:
            self._on_leave()
        else:
            self._send({"kind": "leaving"})

    def tell_count(self) -> None:
        """Tell the front how many connections are here; soon, and once for all that ended."""
        if not self._counting and self._channel is not None:
            self._counting = True
            self._loop.call_later(_COUNT_SECONDS, self._send_count)

    async def page(self) -> bytes | None:
        """The metrics page of all replicas; None when there is no front to ask."""
        if self._channel is None:
            return None
        try:
            text: str = await self._channel.ask({"kind": "page"}, _PAGE_SECONDS)
        except DependencyUnavailable:
            return None
        return text.encode()

    async def close(self) -> None:
        """End the tie when all that was sent is on its way."""
        self._ending = True
        self.stop_accepting()
        while self._channel is not None and not self._channel.drained:
            await asyncio.sleep(0.001)
        for descriptor, _ in self._on_the_way:
            os.close(descriptor)
        self._on_the_way = []
        if self._channel is not None:
            self._channel.close()

    def stop_accepting(self) -> None:
        """Let go of the listening socket."""
        if self._accepting is not None:
            self._accepting.stop()
            self._accepting = None
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    def _connect(self) -> bool:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            sock.connect(str(self._path))
        except OSError:
            sock.close()
            return False
        self._got = 0
        self._channel = Channel(sock, self._hear, self._orphaned)
        held = None if self._listener is None else os.dup(self._listener.fileno())
        hello = {"kind": "hello", **self._numbers(), **self._state()}
        self._channel.send(hello, held)
        return True

    def _hear(self, message: Message, descriptor: int | None) -> None:
        kind = message["kind"]
        if kind == "take":
            self._got += 1
            if descriptor is None:
                logger.error("a connection was lost on its way here: too many open files")
                self.tell_count()
            else:
                self._connections.take(socket.socket(fileno=descriptor))
        elif kind == "welcome" and descriptor is not None:
            self.stop_accepting()
            self._listener = socket.socket(fileno=descriptor)
            self._front_command = message["front"]
            self._connections.give = self._give
        elif kind == "stay":
            self._connections.stay = message["requests"]
        elif kind == "leave":
            self._connections.give = self._give if message["hand_back"] else None
            self.stop_accepting()
            self._on_leave()
        else:
            task = self._loop.create_task(self._answer(message))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _answer(self, message: Message) -> None:
        channel = self._channel
        try:
            value = await self._handle(message)
        except Exception as error:
            if channel is not None and "id" in message:
                channel.refuse(message, error)
            else:
                logger.exception("%r of the front failed", message["kind"])
            return
        if channel is not None and "id" in message:
            channel.answer(message, value)

    def _numbers(self) -> Message:
        connections = self._connections
        answered = connections.state.total_requests
        return {"has": connections.count, "got": self._got, "answered": answered}

    def _give(self, descriptor: int) -> None:
        """Hand a connection back; hold it until the front has given it on, lest both be lost."""
        if self._channel is not None:
            if not self._on_the_way:
                self._loop.call_later(_HOLD_SECONDS, self._let_go)
            self._on_the_way.append((os.dup(descriptor), turns_of(descriptor)))
        self._send({"kind": "back", **self._numbers()}, descriptor)

    def _let_go(self) -> None:
        """Close what the front has given on; what it has not is looked at again."""
        held, self._on_the_way = self._on_the_way, []
        for descriptor, turns in held:
            if turns_of(descriptor) == turns:
                self._on_the_way.append((descriptor, turns))
            else:
                os.close(descriptor)
        if self._on_the_way:
            self._loop.call_later(_HOLD_SECONDS, self._let_go)

    def _take_again(self) -> None:
        """Answer on what the front, which is gone, had not given on."""
        self._let_go()
        held, self._on_the_way = self._on_the_way, []
        for descriptor, _ in held:
            self._connections.take(socket.socket(fileno=descriptor))

    def _send_count(self) -> None:
        self._counting = False
        self._send({"kind": "count", **self._numbers()})

    def _send(self, message: Message, descriptor: int | None = None) -> None:
        if self._channel is not None:
            self._channel.send(message, descriptor)
        elif descriptor is not None:
            os.close(descriptor)

    def _orphaned(self) -> None:
        """The front is gone: go on with what is here, accept what comes, look for a new one."""
        undelivered = self._channel.undelivered if self._channel is not None else []
        self._channel = None
        self._connections.give = None
        self._connections.stay = 0
        for descriptor in undelivered:
            os.close(descriptor)  # what it leads to is held here besides
        self._take_again()
        if self._ending or self._connections.leaving or self._listener is None:
            self._connections.leave()
            self._on_leave()
            return
        self.on_orphaned()
        if self._finding:
            return  # the socket of a front that is just dying took us for a moment
        self._finding = True
        logger.warning("the front is gone: this replica accepts connections itself")
        self._accepting = Accepting(self._listener, self._connections.take)
        task = self._loop.create_task(self._find_front())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _find_front(self) -> None:
        try:
            await self._search()
        finally:
            self._finding = False

    async def _search(self) -> None:
        with self._path.with_name("revive.lock").open("w") as lock:
            revive_at = time.monotonic()
            while not (self._ending or self._connections.leaving or self._has_front()):
                if self._front_command and time.monotonic() > revive_at and _locked(lock):
                    revive_at = time.monotonic() + _REVIVE_SECONDS
                    self._revive()
                if self._channel is None:
                    self._connect()
                await asyncio.sleep(_RETRY_SECONDS)

    def _has_front(self) -> bool:
        """Whether a front has said welcome: only then the search is over."""
        return self._channel is not None and self._connections.give is not None

    def _revive(self) -> None:
        logger.warning("starting a new front")
        if self._revived is not None:
            self._revived.poll()
        # Its output goes where ours goes; it has our session, so that whoever ends that ends it.
        self._revived = subprocess.Popen(
            self._front_command, stdin=subprocess.DEVNULL, close_fds=True
        )


def _locked(lock: Any) -> bool:
    """Whether this process is the one that may start a front; the lock goes with the process."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def connect_path(channel: Path) -> Path:
    """The path of a channel; PolicyRefused (exit 9) where it is too long for a socket's name."""
    if len(os.fsencode(channel)) > 100:
        raise PolicyRefused(f"{channel} is longer than a socket's name may be (100 bytes)")
    return channel
