"""Whatever is sent is answered in JSON with 200 or a 4xx that says what is wrong."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from asking import HEADERS, JSON, ask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from served_here import ServedHere

from ferryman.serving.answering.metrics import ServingMetrics
from ferryman.serving.answering.prediction_app import PredictionApp
from ferryman.serving.log.writer import PredictionLog
from ferryman.serving.models.served_models import Pointer

PATHS = (
    "/v1/models/tiny:predict",
    "/v1/models/tiny:classify",
    "/v1/models/tiny:regress",
    "/api/v1/models/tiny/predict",
    "/v2/models/tiny/infer",
)
CELLS = st.sampled_from(["carrier", "distance", "hour", "entity_key", "event_time", "flight"])
TENSORS = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "name": CELLS | JSON,
            "shape": st.lists(st.integers(-1, 3), max_size=3) | JSON,
            "datatype": st.sampled_from(["FP32", "INT64", "BYTES", "BOOL", "FP16"]) | JSON,
            "data": st.lists(JSON, max_size=3) | JSON,
            "parameters": st.dictionaries(st.sampled_from(["binary_data_size", "x"]), JSON) | JSON,
        },
    ),
    max_size=3,
)
BODIES = (
    st.builds(lambda row: {"instances": [row]}, st.dictionaries(CELLS, JSON))
    | st.builds(lambda rows: {"instances": rows}, st.lists(st.lists(JSON, max_size=4), max_size=3))
    | st.builds(lambda row: {"examples": [row]}, st.dictionaries(CELLS, JSON))
    | st.builds(lambda columns: {"inputs": columns}, st.dictionaries(CELLS, JSON))
    | st.builds(lambda tensors: {"inputs": tensors}, TENSORS)
    | JSON
)


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory, make_bundle: Any) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("fuzz")
    bundle = make_bundle(folder / "bundles")
    served = ServedHere(folder / "serving", folder / "bundles")
    served.restore()
    served.load("tiny", Pointer(version=3, epoch=7, digest=bundle.digest), str(bundle.folder))
    metrics = ServingMetrics()
    log = PredictionLog(folder / "log", metrics.dropped)
    log.start()
    app = PredictionApp(served, log, metrics)
    yield app
    app.close()
    log.close()


def _check(app: Any, path: str, pieces: list[bytes], headers: Any = ()) -> None:
    got = ask(app, path, pieces, headers)
    assert got.status in (200, 400, 413, 415), (got, pieces, headers)
    assert b"Traceback" not in got.body
    if got.status != 200:
        assert json.loads(got.body)["error"]


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(content=BODIES, path=st.sampled_from(PATHS), headers=HEADERS)
def test_no_json_makes_the_server_fail(app: Any, content: Any, path: str, headers: Any) -> None:
    _check(app, path, [json.dumps(content).encode()], headers)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(pieces=st.lists(st.binary(max_size=40), max_size=3), path=st.sampled_from(PATHS))
def test_no_bytes_make_the_server_fail(app: Any, pieces: list[bytes], path: str) -> None:
    _check(app, path, pieces)


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_no_damaged_request_makes_the_server_fail(app: Any, data: st.DataObject) -> None:
    good = b'{"instances": [{"carrier": "UA", "distance": 719.5, "hour": 15}]}'
    place = data.draw(st.integers(0, len(good) - 1))
    damage = data.draw(st.binary(max_size=3))
    end = place + data.draw(st.integers(0, 4))
    _check(app, PATHS[0], [good[:place] + damage + good[end:]])


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    path=st.text(max_size=30) | st.sampled_from([*PATHS, "/metrics", "/v1/models/tiny/versions/9"]),
    method=st.sampled_from(["GET", "HEAD", "PUT", "OPTIONS", "DELETE", "POST", "BREW"]),
)
def test_no_path_or_method_makes_the_server_fail(app: Any, path: str, method: str) -> None:
    assert ask(app, path, [b""], method=method).status in (200, 400, 404, 405)


def test_what_users_send_becomes_no_label(app: Any) -> None:
    for number in range(30):
        for path in (f"/v1/models/m{number}:predict", f"/v2/models/tiny/versions/{number}/infer"):
            ask(app, path, [b'{"instances": []}'], [(b"x-entity-key", b"key %d" % number)])
    ask(app, PATHS[0], [b'{"instances": [{"carrier": "of a user", "hour": 1}]}'])
    page = ask(app, "/metrics", [], method="GET").body.decode()
    labels = [
        sample.labels
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    ]
    assert {each["model"] for each in labels if "model" in each} == {"tiny", "unknown"}
    assert {each["version"] for each in labels if "version" in each} <= {"3"}
    assert "of a user" not in page and "key 1" not in page
