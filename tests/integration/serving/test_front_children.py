"""A front tells a quiet replica from one that hangs."""

import asyncio
import socket
import time
from typing import Any

import pytest

from ferryman.serving.front import children as front_children
from ferryman.serving.front.children import Children
from ferryman.serving.front.fleet import Fleet
from ferryman.serving.sockets.channel import Channel

HELLO = {"kind": "hello", "name": "r1", "ready": True, "served": {}, "problems": {}}
NUMBERS = {"has": 0, "got": 0, "answered": 0}


@pytest.mark.parametrize("answers", [True, False])
def test_a_quiet_replica_is_left_alone_and_one_that_hangs_is_ended(
    answers: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, seconds in (("_PING_SECONDS", 0.05), ("_ROUND_SECONDS", 0.02)):
        monkeypatch.setattr(front_children, name, seconds)
    ended: list[str] = []
    monkeypatch.setattr(Children, "end", lambda *told: ended.append(told[-1]))
    asyncio.run(_watch(answers, ended))
    assert bool(ended) is not answers


async def _watch(answers: bool, ended: list[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        fleet = Fleet(listener, {"kind": "welcome", "front": []}, _nothing, _nothing, _nothing)
        children = Children(fleet, 1, 0, None)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        fleet.meet(ours)

        def hear(message: Any, descriptor: int | None) -> None:
            if descriptor is not None:
                socket.socket(fileno=descriptor).close()
            if message["kind"] == "ping" and answers:
                replica.answer(message, True)

        replica = Channel(theirs, hear, _nothing)
        replica.send({**HELLO, **NUMBERS})
        watching = asyncio.create_task(children.supervise())
        until = time.monotonic() + 1.2
        while time.monotonic() < until and not ended:
            await asyncio.sleep(0.02)
        assert [member.name for member in fleet.members.values()] == ["r1"]
        watching.cancel()
        replica.close()
        await asyncio.sleep(0.02)


def _nothing(*_: Any) -> None:
    return None
