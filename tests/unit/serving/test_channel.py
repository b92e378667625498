"""Messages arrive whole and in order, descriptors with them, also from an end that has gone."""

import asyncio
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from ferryman.errors import DependencyUnavailable, IntegrityBroken
from ferryman.serving.front.merged_metrics import merge_pages
from ferryman.serving.sockets.channel import Channel


class End:
    """One end that keeps what it hears."""

    def __init__(self, sock: socket.socket) -> None:
        self.heard: list[tuple[Any, int | None]] = []
        self.ended = asyncio.Event()
        self.channel = Channel(sock, self._hear, self.ended.set)

    def _hear(self, message: Any, descriptor: int | None) -> None:
        self.heard.append((message, descriptor))
        if message["kind"] == "add":
            self.channel.answer(message, sum(message["numbers"]))
        elif message["kind"] == "fail":
            self.channel.refuse(message, IntegrityBroken("digest mismatch", remedy="Look."))
        elif message["kind"] == "break":
            self.channel.refuse(message, KeyError("x"))


def ends() -> tuple[End, End]:
    first, second = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    return End(first), End(second)


def test_questions_are_answered_or_refused_as_errors() -> None:
    async def live() -> None:
        one, other = ends()
        assert await one.channel.ask({"kind": "add", "numbers": [1, 2]}, 5) == 3
        many = list(range(200_000))  # far more than a packet holds
        assert await one.channel.ask({"kind": "add", "numbers": many}, 5) == sum(many)
        with pytest.raises(IntegrityBroken, match="digest mismatch") as caught:
            await one.channel.ask({"kind": "fail"}, 5)
        assert caught.value.remedy == "Look."
        with pytest.raises(DependencyUnavailable, match="KeyError"):
            await one.channel.ask({"kind": "break"}, 5)
        with pytest.raises(DependencyUnavailable, match=r"no answer to 'silence' within 0\.05 s"):
            await one.channel.ask({"kind": "silence"}, 0.05)
        one.channel.close()
        await asyncio.wait_for(other.ended.wait(), 5)
        with pytest.raises(DependencyUnavailable, match="gone"):
            await other.channel.ask({"kind": "add", "numbers": []}, 5)

    asyncio.run(live())


def test_the_last_words_of_an_end_that_left_something_unread_are_heard() -> None:
    async def live() -> None:
        first, second = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        one = End(first)
        one.channel.send({"kind": "unread"})
        second.send(b'{"kind": "failed"}')
        second.close()
        await asyncio.wait_for(one.ended.wait(), 5)
        assert one.heard == [({"kind": "failed"}, None)]

    asyncio.run(live())


def test_descriptors_arrive_in_order_and_none_is_left_open() -> None:
    async def live() -> None:
        one, other = ends()
        before = _open_files()
        for number in range(300):
            reader, writer = os.pipe()
            os.write(writer, b"%d" % number)
            os.close(writer)
            one.channel.send({"kind": "take"}, reader)
        one.channel.send({"kind": "last"})
        while not one.channel.drained:
            await asyncio.sleep(0)
        one.channel.close()
        await asyncio.wait_for(other.ended.wait(), 5)
        assert other.heard.pop()[0]["kind"] == "last"
        found = []
        for _, descriptor in other.heard:
            assert descriptor is not None
            found.append(int(os.read(descriptor, 10)))
            os.close(descriptor)
        assert found == list(range(300))
        assert _open_files() == before - 2  # both ends are closed

    asyncio.run(live())


def test_what_was_not_sent_is_the_senders_again() -> None:
    async def live() -> None:
        one, other = ends()
        other.channel.close()
        reader, writer = os.pipe()
        os.close(writer)
        one.channel.send({"kind": "take"}, reader)
        await asyncio.wait_for(one.ended.wait(), 5)
        assert one.channel.undelivered == [reader]
        os.close(reader)

    asyncio.run(live())


def test_pages_are_merged_family_by_family() -> None:
    page = '# HELP a_total A.\n# TYPE a_total counter\na_total{{replica="{0}"}} {1}\n'
    only = '# TYPE b gauge\nb{replica="r2",x="{ }"} 1\n'
    merged = merge_pages([page.format("r1", 1), page.format("r2", 2) + only])
    assert merged == (
        "# HELP a_total A.\n# TYPE a_total counter\n"
        'a_total{replica="r1"} 1\na_total{replica="r2"} 2\n'
        '# TYPE b gauge\nb{replica="r2",x="{ }"} 1\n'
    )


def _open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())
