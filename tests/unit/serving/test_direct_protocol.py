"""The short cut gives the very answers that the usual way gives, in the order of the requests."""

import asyncio
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from uvicorn import Config
from uvicorn.server import ServerState

from ferryman.serving.answering.metrics import ServingMetrics
from ferryman.serving.answering.prediction_app import PredictionApp
from ferryman.serving.log.writer import PredictionLog
from ferryman.serving.models.served_models import Pointer, ServedModels
from ferryman.serving.sockets.direct_protocol import DirectProtocol

V1 = "/v1/models/tiny:predict"


class CountingApp(PredictionApp):
    """Counts what goes the usual way."""

    usual = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.usual += 1
        await super().__call__(scope, receive, send)


@pytest.fixture
def app(tmp_path: Path, make_bundle: Any) -> Iterator[CountingApp]:
    bundle = make_bundle(tmp_path / "bundles")
    served = ServedModels(tmp_path / "serving", tmp_path / "bundles")
    served.restore()
    served.load("tiny", Pointer(version=3, epoch=7, digest=bundle.digest), str(bundle.folder))
    metrics = ServingMetrics()
    log = PredictionLog(tmp_path / "log", metrics.dropped)
    log.start()
    app = CountingApp(served, log, metrics)
    yield app
    app.close()
    log.close()


def _request(body: bytes, path: str = V1, more: str = "", method: str = "POST") -> bytes:
    head = f"{method} {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n{more}\r\n"
    return head.encode() + body


def _talk(app: Any, pieces: Sequence[bytes], answers: int) -> list[tuple[int, dict[str, str], Any]]:
    """Send pieces over one connection, and read so many answers."""

    async def run() -> list[tuple[int, dict[str, str], Any]]:
        loop = asyncio.get_running_loop()
        config = Config(app, http="httptools", ws="none", lifespan="off", log_config=None)
        state = ServerState()
        server = await loop.create_server(
            lambda: DirectProtocol(config, state, {}, loop), "127.0.0.1", 0
        )
        port = server.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            if len(pieces) > 1:
                await asyncio.sleep(0)
        found = [await asyncio.wait_for(_read_answer(reader), 10) for _ in range(answers)]
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()
        return found

    return asyncio.run(run())


async def _read_answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], Any]:
    lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines[1:] if line)
    body = await reader.readexactly(int(headers["content-length"]))
    return int(lines[0].split(" ")[1]), headers, json.loads(body)


def _body(app: PredictionApp, distance: float = 719.0) -> bytes:
    return json.dumps({"instances": [{"carrier": "UA", "distance": distance, "hour": 15}]}).encode()


def test_a_whole_prediction_is_answered_as_the_usual_way_answers_it(app: CountingApp) -> None:
    request = _request(_body(app), more="x-request-id: mine\r\n")
    ((status, headers, direct),) = _talk(app, [request], 1)
    assert (status, app.usual) == (200, 0)
    broken_up = [request[place : place + 7] for place in range(0, len(request), 7)]
    ((_, usual_headers, usual),) = _talk(app, broken_up, 1)
    assert app.usual == 1
    assert (direct, headers) == (usual, usual_headers)
    assert (headers["x-request-id"], headers["x-model-version"]) == ("mine", "3")
    page = app._metrics.page().decode()
    assert 'ferryman_requests_total{code="2xx",model="tiny",route="v1_predict"} 2.0' in page


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (_request(b'{"instances": [{"carrier": "UA"}]}'), 400),
        (_request(b"{"), 400),
        (_request(b""), 400),
        (_request(b"{}", "/v1/models/none:predict"), 404),
        (_request(b"{}", "/v1/models/tiny%3Apredict"), 400),
        (_request(b"{}", "/healthz"), 405),
        (_request(b"", "/healthz", method="GET"), 200),
        (_request(b"x", more="content-encoding: gzip\r\n"), 415),
        (_request(b"{}", more="expect: 100-continue\r\nconnection: close\r\n"), 100),
    ],
)
def test_everything_else_goes_the_usual_way(
    app: CountingApp, request_bytes: bytes, status: int
) -> None:
    if status == 100:
        reply = _raw(app, request_bytes)
        assert reply.startswith(b"HTTP/1.1 100") and b"HTTP/1.1 400" in reply
    else:
        ((found, _, content),) = _talk(app, [request_bytes], 1)
        assert (found, isinstance(content, dict)) == (status, True)
    assert app.usual == 1


def test_requests_sent_together_are_answered_in_their_order(app: CountingApp) -> None:
    good, bad = _request(_body(app)), _request(b"{", more="x-request-id: bad\r\n")
    many = [good, good, bad, good, _request(b"", "/healthz", method="GET"), good]
    answers = _talk(app, [b"".join(many)], len(many))
    assert [status for status, _, _ in answers] == [200, 200, 400, 200, 200, 200]
    assert "ready" in answers[4][2]
    assert answers[2][1]["x-request-id"] == "bad"


def test_who_closes_is_answered_and_closed(app: CountingApp) -> None:
    reply = _raw(app, _request(_body(app), more="connection: close\r\n"))
    assert reply.startswith(b"HTTP/1.1 200") and b"connection: close" in reply


def _raw(app: Any, request_bytes: bytes) -> bytes:
    """All that comes until the server closes."""

    async def run() -> bytes:
        loop = asyncio.get_running_loop()
        config = Config(app, http="httptools", ws="none", lifespan="off", log_config=None)
        server = await loop.create_server(
            lambda: DirectProtocol(config, ServerState(), {}, loop), "127.0.0.1", 0
        )
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(request_bytes)
        reply = await asyncio.wait_for(reader.read(), 10)
        writer.close()
        server.close()
        await server.wait_closed()
        return reply

    return asyncio.run(run())
