"""Requests of TensorFlow Serving's page, with our models' columns, against a running server.

The shapes are those of the page's examples: half_plus_three, and the forms of each verb.
"""

from typing import Any

import pytest
from serving_requests.bad_request import BadRequest
from serving_requests.table import REQUESTS
from small_bundles import CLASSES


def test_status_as_the_page_shows_it(server: Any) -> None:
    told = server.http.get("/v1/models/line").json()
    assert told["model_version_status"] == [
        {
            "version": "1",
            "state": "AVAILABLE",
            "status": {"error_code": "OK", "error_message": ""},
        }
    ]


@pytest.mark.parametrize(
    ("path", "versions"),
    [
        ("/v1/models/tiny", ["3", "2"]),
        ("/v1/models/tiny/versions/2", ["2"]),
        ("/v1/models/tiny/labels/champion", ["3"]),
        ("/v1/models/tiny/labels/previous", ["2"]),
    ],
)
def test_status_of_versions(server: Any, path: str, versions: list[str]) -> None:
    told = server.http.get(path).json()["model_version_status"]
    assert [entry["version"] for entry in told] == versions


def test_metadata(server: Any) -> None:
    told = server.http.get("/v1/models/line/metadata").json()
    assert told["model_spec"] == {"name": "line", "signature_name": "", "version": "1"}
    default = told["metadata"]["signature_def"]["signature_def"]["serving_default"]
    size = [{"size": "-1", "name": ""}]
    shape = {"dim": size, "unknown_rank": False}
    assert default["inputs"] == {"x": {"dtype": "DT_DOUBLE", "tensor_shape": shape, "name": "x"}}
    assert default["outputs"] == {"y": {"dtype": "DT_DOUBLE", "tensor_shape": shape, "name": "y"}}


@pytest.mark.parametrize(
    ("verb", "content", "answer"),
    [
        # curl -d '{"instances": [1.0,2.0,5.0]}' .../half_plus_three:predict
        ("predict", {"instances": [1.0, 2.0, 5.0]}, {"predictions": [2.0, 4.0, 10.0]}),
        ("predict", {"instances": [[1.0], [2.0]]}, {"predictions": [2.0, 4.0]}),
        ("predict", {"instances": [{"x": 1.0}, {"x": 2.0}]}, {"predictions": [2.0, 4.0]}),
        ("predict", {"inputs": {"x": [1.0, 2.0]}}, {"outputs": [2.0, 4.0]}),
        ("predict", {"inputs": [1.0, 2.0]}, {"outputs": [2.0, 4.0]}),
        # curl -d '{"signature_name": "tensorflow/serving/regress", "examples": [...]}'
        (
            "regress",
            {
                "signature_name": "tensorflow/serving/regress",
                "examples": [{"x": 1.0}, {"x": 2.0}],
            },
            {"results": [2.0, 4.0], "result": [2.0, 4.0]},
        ),
    ],
)
def test_requests_of_the_page(server: Any, verb: str, content: Any, answer: Any) -> None:
    answered = server.http.post(f"/v1/models/line:{verb}", json=content)
    assert (answered.status_code, answered.json()) == (200, answer)
    assert answered.headers["content-type"] == "application/json"


def test_classify_with_a_context(server: Any) -> None:
    row = dict(server.bundle.rows[0])
    context = {"carrier": row.pop("carrier")}
    content = {"examples": [row, row], "context": context}
    answered = server.http.post("/v1/models/tiny:classify", json=content).json()
    chance = server.bundle.outputs[0]
    assert len(answered["results"]) == 2
    for pairs in answered["results"]:
        assert dict(pairs) == pytest.approx({"0": 1 - chance, "1": chance}, abs=1e-5)


def test_classify_of_many_classes(server: Any) -> None:
    content = {"examples": server.kinds.rows}
    answered = server.http.post("/v1/models/kinds:classify", json=content).json()["results"]
    for pairs, expected in zip(answered, server.kinds.outputs, strict=True):
        assert [label for label, _ in pairs] == CLASSES
        assert [score for _, score in pairs] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    ("place", "version"),
    [("", "3"), ("/versions/3", "3"), ("/versions/2", "2"), ("/labels/previous", "2")],
)
def test_a_path_chooses_the_version(server: Any, place: str, version: str) -> None:
    expected = {"3": server.bundle, "2": server.older}[version].outputs
    for path in (f"/v1/models/tiny{place}:predict", f"/api/v1/models/tiny{place}/predict"):
        answered = server.http.post(path, json={"instances": server.bundle.rows})
        assert answered.json()["predictions"] == pytest.approx(expected, abs=1e-5)
        assert answered.headers["x-model-version"] == version


def test_the_shortest_request(server: Any) -> None:
    answered = server.http.post("/api/v1/models/line/predict", json=[1, 2, 3])
    assert answered.json() == {"predictions": [2.0, 4.0, 6.0]}


@pytest.mark.parametrize("asked", REQUESTS, ids=lambda case: case.what)
def test_bad_requests_over_the_wire(server: Any, asked: BadRequest) -> None:
    answered = server.http.request(
        asked.method, asked.path, content=asked.body, headers=asked.headers
    )
    told = answered.json()
    assert (answered.status_code, told.get("row"), told.get("field")) == (
        asked.status,
        asked.row,
        asked.field,
    )
    assert told["error"].startswith(asked.text.removesuffix("..."))


def test_after_all_that_it_still_answers(server: Any) -> None:
    assert server.http.get("/v2/health/ready").status_code == 200
    page = server.http.get("/metrics").text
    assert 'code="4xx"' in page and 'code="5xx"' not in page
