"""A body that is too large, too late or cut short ends its own request only."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from ferryman.serving.protocols.answers import Refusal
from ferryman.serving.protocols.bodies import BodyReader


def _client(pieces: list[bytes], *, ends: bool = True, pause: float = 0.0) -> Any:
    left = list(pieces)

    async def receive() -> Mapping[str, Any]:
        await asyncio.sleep(pause)
        if not left:
            return {"type": "http.disconnect"}
        piece = left.pop(0)
        return {"type": "http.request", "body": piece, "more_body": bool(left) or not ends}

    return receive


def _read(reader: BodyReader, receive: Any) -> bytes:
    async def run() -> bytes:
        return await reader.read(receive)

    return asyncio.run(run())


def test_pieces_become_one_body() -> None:
    assert _read(BodyReader(10, 5), _client([b"ab", b"", b"cde"])) == b"abcde"


@pytest.mark.parametrize("pieces", [[b"x" * 11], [b"x" * 6, b"x" * 6, b"x"]])
def test_a_body_above_the_limit_is_refused(pieces: list[bytes]) -> None:
    with pytest.raises(Refusal) as caught:
        _read(BodyReader(10, 5), _client(pieces))
    assert caught.value.status == 413


def test_a_client_that_went_away_is_told_so() -> None:
    with pytest.raises(Refusal) as caught:
        _read(BodyReader(10, 5), _client([b"x"], ends=False))
    assert caught.value.status == 400


def test_a_late_body_is_408_and_others_are_read_on() -> None:
    reader = BodyReader(10, 0.05)

    async def run() -> list[Any]:
        slow = reader.read(_client([b"a", b"b"], pause=5.0))
        quick = reader.read(_client([b"a", b"b"]))
        return await asyncio.gather(slow, quick, return_exceptions=True)

    late, read = asyncio.run(run())
    assert isinstance(late, Refusal) and late.status == 408
    assert read == b"ab"


def test_who_is_cancelled_by_others_is_cancelled() -> None:
    async def run() -> None:
        task = asyncio.ensure_future(BodyReader(10, 5).read(_client([b"a"], pause=5.0)))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(run())
