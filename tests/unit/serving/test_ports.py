"""What the prediction port answers: predictions in three dialects, states and refusals."""

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from served_here import ServedHere

from ferryman.serving.answering.metrics import ServingMetrics
from ferryman.serving.answering.prediction_app import MAX_BODY, PredictionApp
from ferryman.serving.log.writer import PredictionLog
from ferryman.serving.models.served_models import Pointer, ServedModels

V1 = "/v1/models/tiny:predict"


class Server(NamedTuple):
    """The application without a network, serving `tiny` version 3 at epoch 7."""

    app: PredictionApp
    served: ServedModels
    rows: list[dict[str, Any]]
    outputs: list[float]
    release: Callable[[float, int], bool]

    def ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        return asyncio.run(_ask(self.app, method, path, more))

    def predict(self, content: Any, path: str = V1) -> httpx.Response:
        return self.ask("POST", path, content=json.dumps(content))


async def _ask(app: Any, method: str, path: str, more: dict[str, Any]) -> httpx.Response:
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
        return await client.request(method, path, **more)


@pytest.fixture
def server(tmp_path: Path, make_bundle) -> Iterator[Server]:
    bundle = make_bundle(tmp_path / "bundles")
    served = ServedHere(tmp_path / "serving", tmp_path / "bundles")
    served.restore()
    served.load("tiny", Pointer(version=3, epoch=7, digest=bundle.digest), str(bundle.folder))
    metrics = ServingMetrics()
    log = PredictionLog(tmp_path / "log", metrics.dropped)
    log.start()
    app = PredictionApp(served, log, metrics)

    def release(strength: float, epoch: int) -> bool:
        other = make_bundle(tmp_path / "bundles", strength)
        pointer = Pointer(version=epoch, epoch=epoch, digest=other.digest)
        return served.load("tiny", pointer, str(other.folder))

    yield Server(app, served, bundle.rows, bundle.outputs, release)
    app.close()
    log.close()


@pytest.mark.parametrize("path", [V1, "/api/v1/models/tiny/predict"])
def test_rows_are_scored_and_the_answer_says_by_whom(server: Server, path: str) -> None:
    answer = server.predict({"instances": server.rows}, path)
    assert answer.status_code == 200
    assert answer.json()["predictions"] == pytest.approx(server.outputs, abs=1e-5)
    assert answer.headers["x-model-version"] == "3"
    assert answer.headers["x-model-epoch"] == "7"
    assert answer.headers["content-type"] == "application/json"
    again = server.predict({"instances": server.rows}, path)
    assert answer.headers["x-request-id"] != again.headers["x-request-id"]


def test_columns_and_tensors_give_the_same_answer(server: Server) -> None:
    columns = {name: [row[name] for row in server.rows] for name in server.rows[0]}
    answer = server.predict({"inputs": columns})
    assert answer.json()["outputs"] == pytest.approx(server.outputs, abs=1e-5)
    kinds = {"carrier": "BYTES", "distance": "FP32", "hour": "INT64"}
    tensors = [
        {"name": name, "datatype": kinds[name], "shape": [len(data), 1], "data": data}
        for name, data in columns.items()
    ]
    answer = server.predict({"id": "a", "inputs": tensors}, "/v2/models/tiny/infer")
    assert answer.json()["id"] == "a"
    (output,) = answer.json()["outputs"]
    assert (output["name"], output["shape"]) == ("late", [len(server.rows)])
    assert output["data"] == pytest.approx(server.outputs, abs=1e-5)


def test_a_large_batch_is_scored_too(server: Server) -> None:
    answer = server.predict({"instances": server.rows * 500})
    assert answer.json()["predictions"] == pytest.approx(server.outputs * 500, abs=1e-5)


@pytest.mark.parametrize(
    ("change", "row", "field"),
    [
        ({"distance": "far"}, 1, "distance"),
        ({"surprise": 1}, 1, "surprise"),
        ({"carrier": None, "hour": 1.5}, 1, "hour"),
    ],
)
def test_a_bad_row_is_400_with_its_place(server: Server, change: Any, row: int, field: str) -> None:
    answer = server.predict({"instances": [server.rows[0], {**server.rows[1], **change}]})
    assert answer.status_code == 400
    assert (answer.json()["row"], answer.json()["field"]) == (row, field)


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"\xff\xfe{", 400),
        (b"[]", 400),
        (b"null", 400),
        (b'{"instances": []}', 400),
        (b'{"instances": [{}], "inputs": {}}', 400),
        (b'{"instances": [{}], "model": "x"}', 400),
        (b'{"instances": [{"carrier": "UA", "distance": NaN, "hour": 1}]}', 400),
        (b'{"instances": [{"carrier": "UA", "distance": Infinity, "hour": 1}]}', 400),
        (b'{"instances": [{"carrier": "UA", "distance": 1e400, "hour": 1}]}', 400),
        (b'{"instances": ' + b"[" * 5000 + b"]" * 5000 + b"}", 400),
        (b'{"instances": [' + b"{}," * 10_000 + b"{}]}", 400),
        (b" " * (MAX_BODY + 1), 413),
    ],
)
def test_bad_bodies_are_refused_in_json(server: Server, content: bytes, status: int) -> None:
    for path in (V1, "/v2/models/tiny/infer"):
        answer = server.ask("POST", path, content=content)
        assert answer.status_code == status
        assert "Traceback" not in answer.text and answer.json()["error"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/healthz", 200),
        ("GET", "/v2/health/live", 200),
        ("GET", "/v2/health/ready", 200),
        ("GET", "/v1/models/tiny", 200),
        ("GET", "/v2/models/tiny", 200),
        ("GET", "/v2/models/tiny/ready", 200),
        ("GET", "/metrics", 200),
        ("GET", V1, 405),
        ("POST", "/healthz", 405),
        ("POST", "/metrics", 405),
        ("POST", "/v1/models/none:predict", 404),
        ("GET", "/v1/models/none", 404),
        ("GET", "/v2/models/none/ready", 404),
        ("GET", "/docs", 404),
        ("GET", "/openapi.json", 404),
        ("GET", "/admin/models", 404),
        ("POST", "/v1/models/../tiny:predict", 404),
        ("POST", "/v1/models/tiny:predict/", 404),
    ],
)
def test_routes(server: Server, method: str, path: str, status: int) -> None:
    answer = server.ask(method, path)
    assert answer.status_code == status, answer.text


def test_states_name_the_release(server: Server) -> None:
    status = server.ask("GET", "/v1/models/tiny").json()
    assert status["model_version_status"][0]["state"] == "AVAILABLE"
    assert (status["version"], status["epoch"]) == (3, 7)
    inputs = server.ask("GET", "/v2/models/tiny").json()["inputs"]
    assert [tensor["datatype"] for tensor in inputs] == ["BYTES", "FP64", "INT64"]


def test_a_remembered_model_that_is_not_loaded_is_503(server: Server) -> None:
    server.served.remembered["lost"] = server.served.remembered["tiny"]
    assert server.predict({"instances": []}, "/v1/models/lost:predict").status_code == 503
    ready = server.ask("GET", "/v2/health/ready")
    assert (ready.status_code, ready.json()["missing"]) == (503, ["lost"])
    assert server.ask("GET", "/v2/health/live").status_code == 200
    assert server.predict({"instances": server.rows}).status_code == 200


def test_request_ids_of_clients_are_kept_when_plain(server: Server) -> None:
    for given_id, kept in (("abc-1.2_3", True), ("a b", False), ("x" * 65, False)):
        answer = server.ask("GET", "/healthz", headers={"x-request-id": given_id})
        assert (answer.headers["x-request-id"] == given_id) is kept
