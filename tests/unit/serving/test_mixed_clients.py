"""Clients that send good and bad, whole and in pieces, one by one and together, get their own."""

import asyncio
import json
import random
import socket
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from served_here import ServedHere

from ferryman.serving.answering.metrics import ServingMetrics
from ferryman.serving.answering.prediction_app import PredictionApp
from ferryman.serving.log.writer import PredictionLog
from ferryman.serving.models.pace import Pace
from ferryman.serving.models.served_models import Pointer
from ferryman.serving.sockets.handed_connections import Connections
from ferryman.serving.sockets.listening import Accepting, listen

CLIENTS, TURNS, STAY = 12, 25, 5


class Asked(NamedTuple):
    data: bytes
    name: str
    status: int
    outputs: list[float]


def ask(chance: random.Random, bundle: Any, name: str) -> Asked:
    index = chance.randrange(len(bundle.rows))
    row, output = bundle.rows[index], bundle.outputs[index]
    kind = chance.random()
    body, status, outputs = json.dumps({"instances": [row]}), 200, [output]
    if kind > 0.9:
        body, status, outputs = "{", 400, []
    elif kind > 0.8:
        body, status, outputs = json.dumps({"instances": [{"hour": 1}]}), 400, []
    elif kind > 0.7:  # too many for a common run
        body, outputs = json.dumps({"instances": [row] * 30}), [output] * 30
    head = f"POST /v1/models/tiny:predict HTTP/1.1\r\nx-request-id: {name}\r\n"
    data = f"{head}content-length: {len(body)}\r\n\r\n{body}".encode()
    return Asked(data, name, status, outputs)


async def check_answer(reader: asyncio.StreamReader, asked: Asked) -> None:
    lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines[1:] if line)
    content = json.loads(await reader.readexactly(int(headers["content-length"])))
    assert (lines[0].split()[1], headers["x-request-id"]) == (str(asked.status), asked.name)
    if asked.outputs:
        assert content["predictions"] == pytest.approx(asked.outputs, abs=1e-5)


async def be_a_client(number: int, seed: int, address: Any, bundle: Any) -> int:
    chance = random.Random(seed * 1_000 + number)  # noqa: S311 - no secret
    reader, writer = await asyncio.open_connection(*address)
    answered = 0
    for turn in range(TURNS):
        together = range(chance.choice((1, 1, 2, 5)))
        asked = [ask(chance, bundle, f"c{number}-{turn}-{place}") for place in together]
        data = b"".join(each.data for each in asked)
        cuts = sorted(chance.randrange(len(data)) for _ in range(chance.choice((0, 0, 1, 3))))
        for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
            writer.write(data[start:end])
            await writer.drain()
            await asyncio.sleep(0.001 * chance.random() if cuts else 0)
        for each in asked:
            await asyncio.wait_for(check_answer(reader, each), 20)
        answered += len(asked)
    writer.close()
    return answered


@pytest.mark.parametrize("seed", [0, 1])
def test_everybody_gets_the_answers_to_what_was_asked_in_order(
    tmp_path: Path, make_bundle: Any, seed: int
) -> None:
    bundle = make_bundle(tmp_path / "bundles")
    served = ServedHere(tmp_path / "serving", tmp_path / "bundles")
    served.restore()
    served.load("tiny", Pointer(version=3, epoch=7, digest=bundle.digest), str(bundle.folder))
    for model in served.loaded:
        model.pace = Pace(gathers=True)
    metrics = ServingMetrics()
    app = PredictionApp(served, PredictionLog(tmp_path / "log", metrics.dropped), metrics)

    async def run() -> tuple[int, int]:
        connections = Connections(app, lambda: None)
        # A connection is handed on all the time, here to this very process.
        connections.stay = STAY
        connections.give = lambda descriptor: connections.take(socket.socket(fileno=descriptor))
        with listen("127.0.0.1", 0) as listener:
            accepting = Accepting(listener, connections.take)
            clients = (
                be_a_client(number, seed, listener.getsockname(), bundle)
                for number in range(CLIENTS)
            )
            answered = await asyncio.gather(*clients)
            accepting.stop()
        connections.cut()
        return sum(answered), connections.state.total_requests

    answered, counted = asyncio.run(run())
    app.close()
    assert answered == counted >= CLIENTS * TURNS
    assert metrics.waiting_rows == metrics.in_flight == 0
