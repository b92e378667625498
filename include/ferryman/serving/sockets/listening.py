"""Listening sockets: opened with a reason where they cannot be, emptied without waiting."""

import logging
import socket
from collections.abc import Callable

from ferryman.errors import DependencyUnavailable
from ferryman.runtime.ports import holder_of

_BACKLOG = 2048
_BATCH = 64

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


def accept_from(listener: socket.socket, take: Callable[[socket.socket], None]) -> None:
    """Take every connection that waits."""
    for _ in range(_BATCH):
        try:
            connected, _ = listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return
        except OSError as error:
            logger.warning("a connection could not be accepted: %s", error)
            return
        take(connected)
