"""A load of HTTP requests from a thread of its own: steady, counted, and changed while it runs.

with RequestLoad("127.0.0.1", 8600, request) as load:
    load.become(connections=8)              as fast as they are answered
    load.become(connections=4, rate=50)     so many a second together
    load.slowest_but(0.05, seconds=5)       the 95th percentile of the last seconds, in seconds
"""

import asyncio
import threading
import time
from collections import deque
from contextlib import suppress

_LONGEST = 30.0  # seconds that an answer may take


def post(path: str, body: bytes) -> bytes:
    """The bytes of a request."""
    head = f"POST {path} HTTP/1.1\r\nhost: test\r\ncontent-type: application/json\r\n"
    return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body


class RequestLoad:
    """Connections that are kept alive, each sending the same request again and again.

    `failures` tells of every answer but 200, and of every connection that broke.
    """

    def __init__(self, host: str, port: int, request: bytes) -> None:
        self._host, self._port, self._request = host, port, request
        self._connections, self._rate = 0, 0.0
        self._ended = False
        self._answers: deque[tuple[float, float]] = deque(maxlen=100_000)
        self.failures: list[str] = []
        self.answered = 0

    def __enter__(self) -> "RequestLoad":
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended = True
        self._thread.join()

    def become(self, *, connections: int, rate: float = 0.0) -> None:
        """So many connections from now on; with a rate, so many requests a second together."""
        self._rate, self._connections = rate, connections

    def slowest_but(self, share: float, *, seconds: float) -> float:
        """The time that all but this share of the latest answers took at most, in seconds."""
        since = time.monotonic() - seconds
        times = sorted(took for at, took in list(self._answers) if at > since)
        return times[min(len(times) - 1, int(len(times) * (1 - share)))]

    def between(self, since: float, until: float) -> int:
        """How many answers came in a time, of seconds as `time.time` counts them."""
        past = time.time() - time.monotonic()
        return sum(since < at + past <= until for at, _ in list(self._answers))

    async def _run(self) -> None:
        clients: list[asyncio.Task[None]] = []
        while not self._ended:
            while len(clients) < self._connections:
                clients.append(asyncio.create_task(self._client(len(clients))))
            await asyncio.sleep(0.02)
        await asyncio.gather(*clients)

    async def _client(self, number: int) -> None:
        streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        due = time.monotonic()
        while not self._ended:
            if number >= self._connections:
                await asyncio.sleep(0.02)
                due = time.monotonic()
                continue
            started = time.monotonic()
            try:
                if streams is None:
                    streams = await asyncio.open_connection(self._host, self._port)
                await asyncio.wait_for(self._ask(*streams), _LONGEST)
                self._answers.append((time.monotonic(), time.monotonic() - started))
                self.answered += 1
            except (OSError, ValueError, EOFError, TimeoutError) as error:
                self.failures.append(f"{type(error).__name__}: {error}")
                if streams is not None:
                    streams[1].close()
                streams = None
                await asyncio.sleep(0.05)
            if self._rate:
                due = max(due + self._connections / self._rate, time.monotonic() - 1)
                await asyncio.sleep(max(0.0, due - time.monotonic()))
        if streams is not None:
            streams[1].close()
            with suppress(OSError):  # the server was quicker
                await streams[1].wait_closed()

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(self._request)
        await writer.drain()
        head = await reader.readuntil(b"\r\n\r\n")
        status, _, fields = head.partition(b"\r\n")
        lengths = [
            line.split(b":")[1]
            for line in fields.lower().split(b"\r\n")
            if b"content-length" in line
        ]
        body = await reader.readexactly(int(lengths[0]) if lengths else 0)
        if b" 200 " not in status:
            raise ValueError(f"{status.decode()}: {body[:200].decode(errors='replace')}")
