"""Requests to a server at a steady rate, or one after the other, on a few connections."""

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable

CONNECTIONS = 4

Ask = Callable[[], Awaitable[None]]


def ask_steadily(port: int, body: bytes, rate: float, seconds: float) -> list[float]:
    """Latencies in seconds of `rate` requests a second, each sent at its time.

    One that could not be sent in time, since its connection had no answer yet, counts from when it
    was due: a server that stalls is not spared the requests that it kept waiting.
    """

    async def one(number: int, ask: Ask, began: float) -> list[float]:
        found = []
        for turn in range(number, int(rate * seconds), CONNECTIONS):
            due = began + turn / rate
            early = due - time.perf_counter()
            if early > 0:
                await asyncio.sleep(early)
                due = time.perf_counter()  # a late timer is ours
            await ask()
            found.append(time.perf_counter() - due)
        return found

    return _on_connections(port, body, one)


def capacity(port: int, body: bytes, seconds: float) -> float:
    """Requests a second where each connection asks again as soon as it is answered."""

    async def one(_: int, ask: Ask, began: float) -> list[float]:
        answered = 0
        while time.perf_counter() < began + seconds:
            await ask()
            answered += 1
        return [answered / seconds]

    return sum(_on_connections(port, body, one))


def _on_connections(
    port: int, body: bytes, act: Callable[[int, Ask, float], Awaitable[list[float]]]
) -> list[float]:
    """What all connections found; our own collector does not run meanwhile."""

    async def connected(number: int, began: float) -> list[float]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            return await act(number, lambda: _ask(reader, writer, body), began)
        finally:
            writer.close()

    async def together() -> list[float]:
        began = time.perf_counter()
        parts = await asyncio.gather(*(connected(number, began) for number in range(CONNECTIONS)))
        return [each for part in parts for each in part]

    gc.collect()
    gc.disable()
    try:
        return asyncio.run(together())
    finally:
        gc.enable()


async def _ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, body: bytes) -> None:
    head = (
        "POST /v1/models/digits:predict HTTP/1.1\r\nhost: benchmark\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    )
    writer.write(head.encode() + body)
    told = await reader.readuntil(b"\r\n\r\n")
    if b" 200 " not in told.split(b"\r\n", 1)[0]:
        raise RuntimeError(f"a request failed: {told!r}")
    fields = dict(line.split(b": ", 1) for line in told.split(b"\r\n")[1:] if line)
    await reader.readexactly(int(fields[b"content-length"]))
