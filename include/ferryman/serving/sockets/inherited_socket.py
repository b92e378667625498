"""A new front takes over the listening socket that the replicas of a killed one still hold."""

import os
import select
import socket
import time
from typing import NamedTuple

from ferryman.errors import DependencyUnavailable
from ferryman.serving.sockets.listening import listen

_WAIT_SECONDS = 1.5
_PACKET = 1 << 16


class Met(NamedTuple):
    """A replica that has connected, and the first packet that it sent."""

    sock: socket.socket
    packet: bytes


def open_public(channel: socket.socket, host: str, port: int) -> tuple[socket.socket, list[Met]]:
    """The listening socket of a front, and the replicas that were met while it was looked for.

    Raises DependencyUnavailable (exit 6) where somebody else listens there.
    """
    try:
        return listen(host, port), []
    except DependencyUnavailable:
        met: list[Met] = []
        deadline = time.monotonic() + _WAIT_SECONDS
        while time.monotonic() < deadline:
            select.select([channel], [], [], 0.05)
            try:
                orphan, _ = channel.accept()
            except BlockingIOError:
                continue
            packet, listener = _listen_to(orphan, port)
            met.append(Met(orphan, packet))
            if listener is not None:
                return listener, met
        for found in met:
            found.sock.close()
        raise


def _listen_to(orphan: socket.socket, port: int) -> tuple[bytes, socket.socket | None]:
    """A replica's first message, and the listening socket that came with it, if it is this one."""
    readable, _, _ = select.select([orphan], [], [], 0.5)
    if not readable:
        return b"", None
    flags = getattr(socket, "MSG_CMSG_CLOEXEC", 0)
    packet, descriptors, _, _ = socket.recv_fds(orphan, _PACKET, 1, flags)
    if not descriptors:
        return packet, None
    listener = socket.socket(fileno=descriptors[0])
    if listener.getsockname()[1] != port:
        listener.close()
        return packet, None
    os.set_blocking(listener.fileno(), False)
    return packet, listener
