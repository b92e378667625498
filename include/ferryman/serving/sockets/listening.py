"""Listening sockets: opened with a reason where they cannot be, emptied without waiting."""

import asyncio
import errno
import logging
import socket
from collections.abc import Callable

from ferryman.errors import DependencyUnavailable
from ferryman.runtime.ports import holder_of

_BACKLOG = 2048
_BATCH = 64
_PAUSE_SECONDS = 0.2
# What passes when others let go: until then every try would fail, and there is always one to make.
_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}

logger = logging.getLogger(__name__)


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; DependencyUnavailable (exit 6) names a taken port and its holder."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise DependencyUnavailable(
            f"port {port} on {host} cannot be used: {error.strerror}{holder_of(port)}",
            remedy="Stop its holder, or choose another FERRYMAN_SERVING_PORT.",
        ) from error
    # Accepted connections inherit it: an answer is never held back to be sent with the next one.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listener.setblocking(False)
    return listener


class Accepting:
    """Takes every connection that comes to a listening socket, until it is stopped.

    Where this process may open no more files, connections wait in the socket. Of one event loop.
    """

    def __init__(self, listener: socket.socket, take: Callable[[socket.socket], None]) -> None:
        self._listener = listener
        self._take = take
        self._loop = asyncio.get_running_loop()
        self._pause: asyncio.TimerHandle | None = None
        listener.setblocking(False)
        self._go_on()

    def stop(self) -> None:
        """Leave the socket alone; it may be closed now."""
        if self._pause is not None:
            self._pause.cancel()
        self._loop.remove_reader(self._listener.fileno())

    def _go_on(self) -> None:
        self._pause = None
        self._loop.add_reader(self._listener.fileno(), self._accept)

    def _accept(self) -> None:
        for _ in range(_BATCH):
            try:
                connected, _ = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                logger.warning("a connection could not be accepted: %s", error)
                if error.errno in _EXHAUSTED:
                    self._loop.remove_reader(self._listener.fileno())
                    self._pause = self._loop.call_later(_PAUSE_SECONDS, self._go_on)
                return
            self._take(connected)
