"""Clients that ask the model `line` about many, and keep what each answer says."""

import asyncio
import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from client_load import read_answer

_HOST = "127.0.0.1"


class Answered(NamedTuple):
    """One answer: about whom, by whom, and what."""

    key: int
    status: int
    variant: str
    version: str
    epoch: str
    score: float | None


def body_of(key: int, x: float) -> bytes:
    """The bytes of a request of one row."""
    body = json.dumps({"instances": [{"x": x, "k": key}]}).encode()
    head = f"POST /v1/models/line:predict HTTP/1.1\r\nhost: t\r\ncontent-length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + body


def ask_all(port: int, keys: Sequence[int], x: float = 1.0, connections: int = 8) -> list[Answered]:
    """One request about each, over several connections."""

    async def all_of_them() -> list[list[Answered]]:
        parts = [keys[start::connections] for start in range(connections)]
        return await asyncio.gather(*(_ask(port, part, x) for part in parts if part))

    return [answer for part in asyncio.run(all_of_them()) for answer in part]


@contextmanager
def keyed_clients(port: int, keys: int, connections: int = 4) -> Iterator[list[Answered]]:
    """Clients that ask about one after the other for as long as the block lasts."""
    ending = threading.Event()
    answers: list[Answered] = []

    async def one(start: int) -> None:
        reader, writer = await asyncio.open_connection(_HOST, port)
        key = start
        while not ending.is_set():
            writer.write(body_of(key, 1.0))
            answers.append(await _read(reader, key))
            key = (key + connections) % keys
        writer.close()

    async def together() -> None:
        await asyncio.gather(*(one(start) for start in range(connections)))

    thread = threading.Thread(target=asyncio.run, args=(together(),))
    thread.start()
    try:
        yield answers
    finally:
        ending.set()
        thread.join()


async def _ask(port: int, keys: Sequence[int], x: float) -> list[Answered]:
    reader, writer = await asyncio.open_connection(_HOST, port)
    found = []
    for key in keys:
        writer.write(body_of(key, x))
        found.append(await _read(reader, key))
    writer.close()
    return found


async def _read(reader: asyncio.StreamReader, key: int) -> Answered:
    async with asyncio.timeout(15):
        status, headers, body = await read_answer(reader)
    told = [headers[f"x-model-{name}"] for name in ("variant", "version", "epoch")]
    score = json.loads(body)["predictions"][0] if status == 200 else None
    return Answered(key, status, *told, score)
