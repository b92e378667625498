"""Connections that a replica answers and may hand on: by descriptor, between two requests."""

import asyncio
import logging
import os
import socket
from collections.abc import Callable
from typing import Any

from uvicorn import Config
from uvicorn.server import ServerState

from ferryman.serving.sockets.direct_protocol import DirectProtocol

KEEP_ALIVE_SECONDS = 60
_FLUSH_SECONDS = 0.001

logger = logging.getLogger(__name__)


def protocol_config(app: object) -> Config:
    """What uvicorn's protocol must know; one configuration for every port of ours."""
    return Config(
        app,  # type: ignore[arg-type]
        http="httptools",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,  # who asks is nobody's business here, and told by nobody
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
    )


class Connections:
    """The connections of one replica.

    `give` takes the descriptor of one that is handed on; None while there is nobody to take it.
    After `stay` requests one is handed on (0: never), so that load is shared by requests even
    where a client keeps one connection for hours. `on_change` is called when one has ended.
    """

    def __init__(self, app: object, on_change: Callable[[], None]) -> None:
        self.config = protocol_config(app)
        self.state = ServerState()
        self.loop = asyncio.get_running_loop()
        self.stay = 0
        self.leaving = False
        self.give: Callable[[int], None] | None = None
        self.on_change = on_change
        self._arriving: set[asyncio.Task[Any]] = set()

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self.state.connections) + len(self._arriving)

    def take(self, connected: socket.socket) -> None:
        """Answer on a connection from now on."""
        connected.setblocking(False)
        task = self.loop.create_task(self._take(connected))
        self._arriving.add(task)
        task.add_done_callback(self._arriving.discard)

    def leave(self) -> None:
        """Let go of every connection: idle ones now, the others when they have their answer."""
        self.leaving = True
        for connection in list(self.state.connections):
            if isinstance(connection, _HandedConnection):
                connection.leave()

    def cut(self) -> None:
        """End what is still there after the time for answers has gone."""
        for connection in list(self.state.connections):
            connection.transport.abort()

    async def _take(self, connected: socket.socket) -> None:
        try:
            await self.loop.connect_accepted_socket(lambda: _HandedConnection(self), connected)
        except OSError as error:
            logger.info("a connection ended on its way: %s", error)
            connected.close()
            self.on_change()


class _HandedConnection(DirectProtocol):
    """The protocol, which knows when nothing of a request is with it and lets go then."""

    def __init__(self, home: Connections) -> None:
        super().__init__(home.config, home.state, {}, home.loop)
        self._home = home
        self._answered = 0
        self._in_request = False
        self._handed_on = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if self._home.leaving:
            self.loop.call_soon(self.leave)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if not self._handed_on:
            self._home.on_change()

    def on_message_begin(self) -> None:
        self._in_request = True
        super().on_message_begin()

    def on_message_complete(self) -> None:
        self._in_request = False
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._answered += 1
        home = self._home
        if home.leaving or (home.stay and self._answered >= home.stay):
            # Not at once: what was read together with this request has its turn first.
            self.loop.call_soon(self.leave)

    def leave(self) -> None:
        """Hand the connection on if nothing of a request is with it; else later, or not."""
        if self.transport.is_closing() or self._handed_on or not self._is_idle():
            return
        if self.transport.get_write_buffer_size():
            self.loop.call_later(_FLUSH_SECONDS, self.leave)
            return
        give = self._home.give
        if give is None:
            if self._home.leaving:
                self.transport.close()
            return
        # From here on nobody reads: what the client sends waits in the socket for the next one.
        self.transport.pause_reading()
        descriptor = os.dup(self.transport.get_extra_info("socket").fileno())
        self._handed_on = True
        self._unset_keepalive_if_required()
        self.connections.discard(self)
        self.transport.abort()  # closes this descriptor only: the connection lives in the other
        give(descriptor)

    def _is_idle(self) -> bool:
        answered = self.cycle is None or self.cycle.response_complete
        return answered and not (self._in_request or self.is_waiting or self.pipeline)
