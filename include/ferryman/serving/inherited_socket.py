"""A new front takes over the listening socket that the replicas of a killed one still hold."""

import os
import select
import socket
import time

from ferryman.errors import DependencyUnavailable
from ferryman.serving.listening import listen

_WAIT_SECONDS = 1.5
_PACKET = 1 << 16


def open_public(
    channel: socket.socket, host: str, port: int
) -> tuple[socket.socket, list[socket.socket]]:
    """The listening socket of a front, and the replicas that were met while it was looked for.

    Raises DependencyUnavailable (exit 6) where somebody else listens there.
    """
    try:
        return listen(host, port), []
    except DependencyUnavailable:
        met: list[socket.socket] = []
        deadline = time.monotonic() + _WAIT_SECONDS
        while time.monotonic() < deadline:
            select.select([channel], [], [], 0.05)
            try:
                orphan, _ = channel.accept()
            except BlockingIOError:
                continue
            met.append(orphan)
            listener = _held_by(orphan, port)
            if listener is not None:
                return listener, met
        for orphan in met:
            orphan.close()
        raise


def _held_by(orphan: socket.socket, port: int) -> socket.socket | None:
    """The listening socket in a replica's first message, which is left to be read again."""
    readable, _, _ = select.select([orphan], [], [], 0.5)
    if not readable:
        return None
    flags = socket.MSG_PEEK | getattr(socket, "MSG_CMSG_CLOEXEC", 0)
    _, descriptors, _, _ = socket.recv_fds(orphan, _PACKET, 1, flags)
    if not descriptors:
        return None
    listener = socket.socket(fileno=descriptors[0])
    if listener.getsockname()[1] != port:
        listener.close()
        return None
    os.set_blocking(listener.fileno(), False)
    return listener
