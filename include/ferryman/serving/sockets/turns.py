"""How often a connection was given on: kept in the connection itself, for all who hold it to see.

The interval of keep-alive probes is the place: every connection has one, whoever duplicates the
descriptor shares it, and without SO_KEEPALIVE, which nobody sets here, it means nothing.
"""

import socket

_MOST = 32_000  # Linux takes up to 32,767 seconds


def turns_of(descriptor: int) -> int:
    """The count; it differs from an earlier one if the connection was given on since."""
    with _Borrowed(descriptor) as connection:
        return connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL)


def count_turn(descriptor: int) -> None:
    """Say that the connection is given on now."""
    with _Borrowed(descriptor) as connection:
        before = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL)
        after = before % _MOST + 1
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, after)


class _Borrowed:
    """A descriptor as a socket that leaves it open."""

    def __init__(self, descriptor: int) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0, fileno=descriptor)

    def __enter__(self) -> socket.socket:
        return self._socket

    def __exit__(self, *_: object) -> None:
        self._socket.detach()
