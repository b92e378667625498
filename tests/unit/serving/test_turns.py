"""A connection says itself how often it was given on, to whoever holds it."""

import os
import socket

import pytest

from ferryman.serving.sockets.turns import count_turn, turns_of


@pytest.mark.parametrize(
    ("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")]
)
def test_a_turn_is_seen_through_every_descriptor(family: int, host: str) -> None:
    try:
        listener = socket.create_server((host, 0), family=family)
    except OSError as error:
        pytest.skip(f"this machine has no {host}: {error}")
    with listener, socket.create_connection(listener.getsockname()[:2]) as client:
        accepted, _ = listener.accept()
        held = os.dup(accepted.fileno())
        before = turns_of(held)
        count_turn(accepted.fileno())
        once = turns_of(held)
        count_turn(accepted.fileno())
        assert len({before, once, turns_of(held)}) == 3
        for _ in range(32_100):  # it goes round, and is never what it just was
            last = turns_of(held)
            count_turn(held)
            assert turns_of(held) != last
        client.sendall(b"x")
        assert accepted.recv(1) == b"x"
        accepted.close()
        os.close(held)
