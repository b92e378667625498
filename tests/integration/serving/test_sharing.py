"""Several replicas behind one port share requests, however clients connect; no byte is lost."""

import asyncio
import json
import threading
from typing import Any

import pytest
from client_load import Clients, read_answer, request_of, shares


@pytest.fixture(scope="module")
def served(start_shared_server: Any, make_bundle: Any) -> tuple[Any, Any]:
    """A server of three replicas, and the bundle that it serves."""
    server = start_shared_server(replicas=3)
    bundle = make_bundle(server.settings.bundles_root)
    server.load(bundle, 1)
    return server, bundle


@pytest.mark.parametrize(
    ("connections", "close", "requests"),
    [(32, False, 160), (1, False, 2_400), (4, True, 150)],
    ids=["32 connections", "1 connection", "a connection a request"],
)
def test_three_replicas_share_the_load(
    served: tuple[Any, Any], connections: int, close: bool, requests: int
) -> None:
    server, bundle = served
    before = server.answered()
    clients = Clients(server.endpoint.port, bundle.rows[0], connections, close=close)
    asyncio.run(clients.run(threading.Event(), requests))
    assert clients.seen.failures == []
    assert len(clients.seen.answers) == connections * requests
    assert clients.seen.wrong({"1": bundle.outputs[0]}) == []
    after = server.answered()
    found = shares([after[name] - before.get(name, 0) for name in ("r1", "r2", "r3")])
    assert all(28 < share < 38 for share in found), found


def test_pipelined_requests_and_single_bytes_survive_being_handed_on(
    served: tuple[Any, Any],
) -> None:
    server, bundle = served
    before = server.answered()
    asked = [number % 20 for number in range(600)]

    async def pipelined() -> list[float]:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.endpoint.port)
        scores = []
        for start in range(0, 600, 50):
            some = asked[start : start + 50]
            writer.write(b"".join(request_of(bundle.rows[row]) for row in some))
            for _ in some:
                status, _, body = await read_answer(reader)
                assert status == 200, body
                scores.append(json.loads(body)["predictions"][0])
        writer.close()
        return scores

    async def byte_by_byte() -> list[float]:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.endpoint.port)
        scores = []
        for row in asked[:140]:
            for byte in request_of(bundle.rows[row]):
                writer.write(bytes([byte]))
                await asyncio.sleep(0)
            status, _, body = await read_answer(reader)
            assert status == 200, body
            scores.append(json.loads(body)["predictions"][0])
        writer.close()
        return scores

    async def all_at_once() -> list[list[float]]:
        return await asyncio.gather(pipelined(), pipelined(), byte_by_byte(), byte_by_byte())

    for scores in asyncio.run(all_at_once()):
        expected = [bundle.outputs[row] for row in asked[: len(scores)]]
        assert scores == pytest.approx(expected, abs=1e-5)
    assert all(count > before.get(name, 0) for name, count in server.answered().items())
    assert len(server.answered()) == 3
