"""Clients without pause: plain keep-alive connections that check every answer's score and epoch."""

import asyncio
import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

_HOST = "127.0.0.1"


@dataclass
class Seen:
    """What the clients saw: (score, epoch) of answers, and what failed."""

    answers: list[tuple[float, str]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)

    def wrong(self, expected: Mapping[str, float]) -> list[tuple[float, str]]:
        """Answers whose score is not that of their epoch."""
        return [(s, e) for s, e in self.answers if abs(s - expected[e]) > 1e-5]


def request_of(row: Mapping[str, Any], *, close: bool = False) -> bytes:
    """The bytes of a prediction request of one row."""
    body = json.dumps({"instances": [row]}).encode()
    head = (
        "POST /v1/models/tiny:predict HTTP/1.1\r\nhost: test\r\n"
        f"content-length: {len(body)}\r\n" + ("connection: close\r\n" if close else "")
    )
    return head.encode() + b"\r\n" + body


async def read_answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of one answer."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    pairs = (line.split(": ", 1) for line in head[1:] if line)
    headers = {key.lower(): value for key, value in pairs}
    body = await reader.readexactly(int(headers["content-length"]))
    return int(head[0].split()[1]), headers, body


class Clients:
    """`connections` at once; each request is tried again until it is answered, `tries` times."""

    def __init__(
        self, port: int, row: Mapping[str, Any], connections: int, *, close: bool = False
    ) -> None:
        self.seen = Seen()
        self._port = port
        self._request = request_of(row, close=close)
        self._connections = connections
        self._close = close

    async def run(self, ending: threading.Event, requests: int = 0) -> None:
        """Ask until `ending`, or so many requests of each connection."""
        await asyncio.gather(*(self._one(ending, requests) for _ in range(self._connections)))

    async def _one(self, ending: threading.Event, requests: int) -> None:
        streams = None
        asked = failed = 0
        while not ending.is_set() and (not requests or asked < requests):
            try:
                if streams is None:
                    streams = await asyncio.open_connection(_HOST, self._port)
                streams[1].write(self._request)
                async with asyncio.timeout(15):
                    status, headers, body = await read_answer(streams[0])
            except (OSError, EOFError, TimeoutError) as error:
                failed += 1
                self.seen.failures.append(repr(error))
                if failed > 100:
                    self.seen.lost.append(repr(error))
                    return
                await asyncio.sleep(0.02)
                streams = _drop(streams)
                continue
            asked, failed = asked + 1, 0
            if status == 200:
                score = json.loads(body)["predictions"][0]
                self.seen.answers.append((score, headers["x-model-epoch"]))
            else:
                self.seen.failures.append(f"{status} {body!r}")
            if self._close:
                streams = _drop(streams)
        _drop(streams)


def _drop(streams: Any) -> None:
    if streams is not None:
        streams[1].transport.abort()


@contextmanager
def running_clients(
    port: int, row: Mapping[str, Any], connections: int, *, close: bool = False
) -> Iterator[Seen]:
    """Clients that ask in a thread of their own for as long as the block lasts."""
    clients = Clients(port, row, connections, close=close)
    ending = threading.Event()
    thread = threading.Thread(target=asyncio.run, args=(clients.run(ending),))
    thread.start()
    try:
        yield clients.seen
    finally:
        ending.set()
        thread.join()


def shares(counts: Sequence[float]) -> list[float]:
    """Each count's share of all, in percent."""
    total = sum(counts)
    return [round(100 * count / total, 1) for count in counts]
