"""No bad request gets a prediction or a 5xx: each is told what is wrong with it, and where."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

import pytest
from linear_bundle import LINE, make_linear_bundle
from served_here import ServedHere
from serving_requests.bad_request import BadRequest
from serving_requests.table import BEGIN, END, PAGE, REQUESTS, table

from ferryman.serving.answering.metrics import ServingMetrics
from ferryman.serving.answering.prediction_app import PredictionApp
from ferryman.serving.log.writer import PredictionLog
from ferryman.serving.models.served_models import Pointer


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory, make_bundle) -> Iterator[PredictionApp]:
    home = tmp_path_factory.mktemp("server")
    served = ServedHere(home / "serving", home / "bundles")
    served.restore()
    for version, strength in ((2, 0.1), (3, 1.0)):
        bundle = make_bundle(home / "bundles", strength)
        pointer = Pointer(version=version, epoch=version, digest=bundle.digest)
        served.load("tiny", pointer, str(bundle.folder))
    folder, manifest = make_linear_bundle(home / "bundles")
    served.load(LINE, Pointer(version=1, epoch=1, digest=manifest.digest), str(folder))
    metrics = ServingMetrics()
    log = PredictionLog(home / "log", metrics.dropped)
    log.start()
    app = PredictionApp(served, log, metrics)
    yield app
    app.close()
    log.close()


def ask(app: PredictionApp, request: BadRequest) -> tuple[int, dict[str, Any]]:
    """Status and content, asked as the HTTP server asks: path unquoted, header names in lower."""
    scope = {
        "type": "http",
        "method": request.method,
        "path": unquote(request.path),
        "raw_path": request.path.encode(),
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in request.headers.items()],
    }
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": request.body, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    body = b"".join(message.get("body", b"") for message in sent)
    content: dict[str, Any] = json.loads(body)
    return sent[0]["status"], content


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda case: case.what)
def test_a_bad_request_is_told_what_is_wrong(app: PredictionApp, request_: BadRequest) -> None:
    status, content = ask(app, request_)
    text = content["error"]
    whole = not request_.text.endswith("...")
    assert text == request_.text if whole else text.startswith(request_.text[:-3])
    assert (status, content.get("row"), content.get("field")) == (
        request_.status,
        request_.row,
        request_.field,
    )


def test_the_table_is_long_and_names_no_request_twice() -> None:
    names = [request.what for request in REQUESTS]
    assert len(names) == len(set(names)) >= 60


def test_the_page_shows_the_table_as_it_is() -> None:
    shown = PAGE.read_text(encoding="utf-8").split(BEGIN)[1].split(END)[0]
    assert shown.strip() == table(), "run: PYTHONPATH=tests python -m serving_requests.table"
