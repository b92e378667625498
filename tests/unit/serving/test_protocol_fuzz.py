"""Whatever is sent, a dialect answers it or refuses it; nothing else is ever raised."""

import json
import struct
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from linear_bundle import LINE, make_linear_bundle

from ferryman.serving.models.onnx_model import Identity, OnnxModel, open_verified
from ferryman.serving.models.rows import RowError
from ferryman.serving.protocols import dialects
from ferryman.serving.protocols.answers import Refusal, bad_row
from ferryman.serving.protocols.requests import Request
from ferryman.serving.protocols.routes import find_route

PATHS = [
    "/v1/models/line:predict",
    "/v1/models/line:regress",
    "/v1/models/line:classify",
    "/api/v1/models/line/predict",
    "/v2/models/line/infer",
]
TENSOR = {"name": "x", "shape": [2], "datatype": "FP32", "parameters": {"binary_data_size": 8}}
HEADER = json.dumps({"id": "1", "inputs": [TENSOR], "outputs": [{"name": "y"}]}).encode()
BINARY = struct.pack("<2f", 1.0, 2.0)


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> OnnxModel:
    folder, manifest = make_linear_bundle(tmp_path_factory.mktemp("bundles"))
    return open_verified(folder, Identity(LINE, 3, 7, manifest.digest))


def answered(model: OnnxModel, path: str, body: bytes, length: int | None = None) -> Any:
    """The answer's bytes; None where the request is refused as one of its kind may be."""
    request = Request(find_route(path), body, length)
    try:
        asked = dialects.read(request, model.schema)
        return dialects.answer(request, asked, model, model.score(asked.rows)).body
    except RowError as error:
        assert error.row is None or error.row >= 0
        orjson.dumps(bad_row(error).content)
        return None
    except Refusal as refusal:
        assert refusal.status == 400
        orjson.dumps(refusal.content)
        return None


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["x", "name", "binary_data_size", "b64"]), inner)
    ),
    max_leaves=8,
)
_KEYS = {
    "instances": _VALUES,
    "inputs": _VALUES,
    "examples": _VALUES,
    "context": _VALUES,
    "signature_name": _VALUES,
    "id": _VALUES,
    "outputs": _VALUES,
    "parameters": _VALUES,
    "model_name": _VALUES,
}
_TENSOR = st.fixed_dictionaries(
    {"name": st.just("x") | _VALUES},
    optional={
        "shape": st.lists(st.integers(-2, 3), max_size=3) | _VALUES,
        "datatype": st.sampled_from(["FP32", "INT8", "UINT64", "BYTES", "BOOL"]) | _VALUES,
        "data": st.lists(st.integers() | st.floats(), max_size=3) | _VALUES,
        "parameters": st.fixed_dictionaries({}, optional={"binary_data_size": _VALUES}) | _VALUES,
    },
)
_QUIET = settings(
    max_examples=80,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


@_QUIET
@given(content=st.fixed_dictionaries({}, optional=_KEYS), path=st.sampled_from(PATHS))
def test_any_json(line: OnnxModel, content: Any, path: str) -> None:
    answered(line, path, json.dumps(content).encode())
    answered(line, path, json.dumps(content.get("inputs")).encode())


@_QUIET
@given(tensors=st.lists(_TENSOR, max_size=3), binary=st.binary(max_size=12))
def test_any_tensors(line: OnnxModel, tensors: Any, binary: bytes) -> None:
    header = json.dumps({"inputs": tensors}).encode()
    answered(line, "/v2/models/line/infer", header + binary, len(header))


@_QUIET
@given(
    place=st.integers(0, len(HEADER + BINARY) - 1),
    byte=st.integers(0, 255),
    cut=st.integers(0, 4),
    shift=st.integers(-3, 3),
)
def test_a_good_request_with_one_byte_changed(
    line: OnnxModel, place: int, byte: int, cut: int, shift: int
) -> None:
    body = bytearray(HEADER + BINARY)
    body[place] = byte
    length = len(HEADER) + shift
    answered(line, "/v2/models/line/infer", bytes(body[: len(body) - cut]), length)


def test_the_request_that_is_changed_is_a_good_one(line: OnnxModel) -> None:
    answer = answered(line, "/v2/models/line/infer", HEADER + BINARY, len(HEADER))
    assert json.loads(answer)["outputs"][0]["data"] == [2.0, 4.0]
