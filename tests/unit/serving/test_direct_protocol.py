"""The short cut gives the very answers that the usual way gives, in the order of the requests."""

import asyncio
import contextlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from served_here import ServedHere
from uvicorn import Config
from uvicorn.server import ServerState

from ferryman.serving.answering.metrics import ServingMetrics
from ferryman.serving.answering.prediction_app import PredictionApp
from ferryman.serving.log.writer import PredictionLog
from ferryman.serving.models.onnx_model import OnnxModel
from ferryman.serving.models.pace import Pace
from ferryman.serving.models.rows import NoScore
from ferryman.serving.models.served_models import Pointer
from ferryman.serving.sockets import direct_protocol
from ferryman.serving.sockets.direct_protocol import MAX_HEAD, DirectProtocol

V1 = "/v1/models/tiny:predict"


class CountingApp(PredictionApp):
    """Counts what goes the usual way."""

    usual = 0
    shared = False

    def answer_at_once(self, url: Any, headers: Any, body: Any, clients: int, later: Any) -> Any:
        return super().answer_at_once(url, headers, body, 2 if self.shared else clients, later)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.usual += 1
        await super().__call__(scope, receive, send)


@pytest.fixture
def app(tmp_path: Path, make_bundle: Any) -> Iterator[CountingApp]:
    bundle = make_bundle(tmp_path / "bundles")
    served = ServedHere(tmp_path / "serving", tmp_path / "bundles")
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


@pytest.mark.parametrize("gathers", [False, True])
def test_requests_sent_together_are_answered_in_their_order(
    app: CountingApp, gathers: bool
) -> None:
    _let_gather(app, gathers)
    good, bad = _request(_body(app)), _request(b"{", more="x-request-id: bad\r\n")
    many = [good, good, bad, good, _request(b"", "/healthz", method="GET"), good]
    answers = _talk(app, [b"".join(many)], len(many))
    assert [status for status, _, _ in answers] == [200, 200, 400, 200, 200, 200]
    assert "ready" in answers[4][2]
    assert answers[2][1]["x-request-id"] == "bad"


def _let_gather(app: CountingApp, gathers: bool) -> None:
    app.shared = True
    for model in app._served.loaded:
        model.pace = Pace(gathers=gathers)


class _Overflowing(OnnxModel):
    """Has no answer where a distance is beyond the world."""

    def run(self, feed: Any, size: int) -> Any:
        if max(float(cells.max()) for cells in feed.values() if cells.dtype != np.object_) > 1e6:
            raise NoScore("the model gives no finite score for this row", row=0)
        return super().run(feed, size)


def test_a_row_that_the_model_cannot_answer_is_refused_the_usual_way(app: CountingApp) -> None:
    _let_gather(app, True)
    for model in app._served.loaded:
        model.__class__ = _Overflowing
    good, bad = _request(_body(app)), _request(_body(app, 1e7), more="x-request-id: far\r\n")
    answers = _talk(app, [b"".join([good, bad, good, bad])], 4)
    assert [status for status, _, _ in answers] == [200, 500, 200, 500]
    assert answers[1][1]["x-request-id"] == "far" and "finite" in answers[1][2]["error"]
    # What came after the first bad one in the same packet waited for it, the usual way.
    assert app.usual == 3


def test_a_good_request_before_nonsense_is_answered_first(app: CountingApp) -> None:
    _let_gather(app, True)
    reply = _raw(app, _request(_body(app)) + b"no HTTP\r\n\r\n")
    assert reply.startswith(b"HTTP/1.1 200 OK") and reply.count(b"HTTP/1.1 400 ") == 1


def test_a_client_that_says_no_more_is_answered(app: CountingApp) -> None:
    _let_gather(app, True)
    reply = _raw(app, _request(_body(app)), ends=True)
    assert reply.startswith(b"HTTP/1.1 200 OK")


@pytest.mark.parametrize("pieces", [1, 50])
def test_the_head_of_a_request_is_bounded(app: CountingApp, pieces: int) -> None:
    head = b"POST / HTTP/1.1\r\n" + b"x: " + b"y" * (MAX_HEAD * 8)
    step = len(head) // pieces
    parts = [head[place : place + step] for place in range(0, len(head), step)]
    reply = _raw(app, *parts)
    assert reply == b"" or reply.startswith(b"HTTP/1.1 400 ")
    good = _request(_body(app), more=f"x: {'y' * 10_000}\r\n")
    ((status, _, _),) = _talk(app, [good], 1)
    assert status == 200


def test_the_head_after_a_large_body_is_not_counted_with_it(app: CountingApp) -> None:
    rows = json.loads(_body(app))["instances"] * 1_500
    large = _request(json.dumps({"instances": rows}).encode())
    assert len(large) > MAX_HEAD
    next_one = _request(_body(app))
    (first, second) = _talk(app, [large + next_one[:30], next_one[30:]], 2)
    assert (first[0], second[0]) == (200, 200)


@pytest.mark.parametrize("begun", [b"", b"POST / HTTP/1.1\r\nhost"])
def test_a_head_that_never_comes_is_not_awaited_for_ever(
    app: CountingApp, begun: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(direct_protocol, "HEAD_SECONDS", 0.1)
    assert _raw(app, begun, idle=0.1 if not begun else 60) == b""


def test_who_closes_is_answered_and_closed(app: CountingApp) -> None:
    reply = _raw(app, _request(_body(app), more="connection: close\r\n"))
    assert reply.startswith(b"HTTP/1.1 200") and b"connection: close" in reply


def _raw(app: Any, *pieces: bytes, ends: bool = False, idle: float = 5) -> bytes:
    """All that comes until the server closes."""

    async def run() -> bytes:
        loop = asyncio.get_running_loop()
        config = Config(app, http="httptools", ws="none", lifespan="off", log_config=None)
        config.timeout_keep_alive = idle  # type: ignore[assignment]
        server = await loop.create_server(
            lambda: DirectProtocol(config, ServerState(), {}, loop), "127.0.0.1", 0
        )
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        reply = b""
        with contextlib.suppress(ConnectionError):  # it hung up with much still on its way
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0)
            if ends:
                writer.write_eof()
            async with asyncio.timeout(10):
                while read := await reader.read(65536):
                    reply += read
        writer.close()
        server.close()
        await server.wait_closed()
        return reply

    return asyncio.run(run())
