"""The Open Inference Protocol, tensor by tensor: JSON and bytes, in and out."""

import json
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ferryman.serving.models.onnx_model import Identity, OnnxModel, open_verified
from ferryman.serving.models.rows import MAX_ROWS, RowError
from ferryman.serving.protocols import dialects
from ferryman.serving.protocols.answers import Refusal
from ferryman.serving.protocols.requests import Answer, Request
from ferryman.serving.protocols.routes import find_route

PATH = "/v2/models/tiny/infer"
COLUMNS: dict[str, Any] = {"carrier": ["UA", "B6"], "distance": [719.0, 100.0], "hour": [15, 5]}
DTYPES = {"INT": "i", "UINT": "u", "FP": "f"}


@pytest.fixture
def model(tmp_path: Path, make_bundle) -> OnnxModel:
    bundle = make_bundle(tmp_path)
    return open_verified(bundle.folder, Identity("tiny", 3, 7, bundle.digest))


def tensor(name: str, datatype: str = "", **more: Any) -> dict[str, Any]:
    kinds = {"carrier": "BYTES", "distance": "FP64", "hour": "INT64"}
    made = {"name": name, "shape": [2], "datatype": datatype or kinds.get(name, "BYTES"), **more}
    return made if "data" in made or "parameters" in made else {**made, "data": COLUMNS[name]}


def with_tensor(**changed: Any) -> dict[str, Any]:
    """A good request whose tensor `hour` is another; `more` stands beside the tensors."""
    return {"inputs": [tensor("carrier"), tensor("distance"), tensor(**changed)]}


def ask(model: OnnxModel, content: Any, binary: bytes | None = None) -> Answer:
    body = json.dumps(content).encode()
    length = None if binary is None else len(body)
    request = Request(find_route(PATH), body + (binary or b""), length)
    asked = dialects.read(request, model.schema)
    return dialects.answer(request, asked, model, model.score(asked.rows))


def scores(model: OnnxModel, content: Any, binary: bytes | None = None) -> list[float]:
    (output,) = json.loads(ask(model, content, binary).body)["outputs"]
    assert (output["name"], output["datatype"], output["shape"]) == ("late", "FP64", [2])
    data: list[float] = output["data"]
    return data


def expected(model: OnnxModel) -> list[float]:
    return model.score(model.schema.read_columns(COLUMNS))  # type: ignore[return-value]


def texts(values: Sequence[str]) -> bytes:
    encoded = [value.encode() for value in values]
    return b"".join(struct.pack("<I", len(value)) + value for value in encoded)


NUMBERS = [f"{kind}{bits}" for kind in ("INT", "UINT") for bits in (8, 16, 32, 64)]


@pytest.mark.parametrize("datatype", [*NUMBERS, "FP16", "FP32", "FP64"])
def test_every_number_type_as_json_and_as_bytes(model: OnnxModel, datatype: str) -> None:
    kind = datatype.rstrip("0123456789")
    code = f"<{DTYPES[kind]}{int(datatype[len(kind) :]) // 8}"
    assert scores(model, with_tensor(name="hour", datatype=datatype)) == expected(model)
    data = np.array(COLUMNS["hour"], dtype=code).tobytes()
    sized = tensor("hour", datatype, parameters={"binary_data_size": len(data)})
    content = {"inputs": [tensor("carrier"), tensor("distance"), sized]}
    assert scores(model, content, data) == expected(model)


def test_bytes_follow_in_the_order_of_the_tensors(model: OnnxModel) -> None:
    parts = {
        "distance": np.array(COLUMNS["distance"], dtype="<f8").tobytes(),
        "carrier": texts(COLUMNS["carrier"]),
        "hour": np.array(COLUMNS["hour"], dtype="<i8").tobytes(),
    }
    tensors = [tensor(name, parameters={"binary_data_size": len(parts[name])}) for name in parts]
    assert scores(model, {"inputs": tensors}, b"".join(parts.values())) == expected(model)


def test_shapes_of_one_column(model: OnnxModel) -> None:
    for data in (COLUMNS["hour"], [[15], [5]]):
        assert scores(model, with_tensor(name="hour", shape=[2, 1], data=data)) == expected(model)


def test_null_is_a_missing_value_and_extra_columns_are_kept(model: OnnxModel) -> None:
    content = with_tensor(name="distance", data=[None, 100.0])
    content["inputs"] = [tensor("carrier"), tensor("hour"), content["inputs"][2]]
    content["inputs"].append(tensor("entity_key", data=["a", "b"]))
    content["inputs"].append(tensor("flight", "INT32", data=[1, 2]))
    assert scores(model, content)[1] == expected(model)[1]


@pytest.mark.parametrize(
    ("asked", "is_binary"),
    [
        ({}, False),
        ({"outputs": []}, False),
        ({"outputs": [{"name": "late"}]}, False),
        ({"outputs": [{"name": "late", "parameters": {"binary_data": True}}]}, True),
        ({"parameters": {"binary_data_output": True}}, True),
        ({"parameters": {"binary_data_output": True}, "outputs": [{"name": "late"}]}, True),
        (
            {
                "parameters": {"binary_data_output": True, "priority": 1},
                "outputs": [{"name": "late", "parameters": {"binary_data": False}}],
            },
            False,
        ),
    ],
)
def test_the_output_comes_as_asked(model: OnnxModel, asked: Any, is_binary: bool) -> None:
    answer = ask(model, {"id": "42", **with_tensor(name="hour"), **asked})
    headers = dict(answer.headers)
    if not is_binary:
        assert headers == {b"content-type": b"application/json"}
        content = json.loads(answer.body)
        assert content["outputs"][0]["data"] == expected(model)
    else:
        length = int(headers[b"inference-header-content-length"])
        assert headers[b"content-type"] == b"application/octet-stream"
        content = json.loads(answer.body[:length])
        assert content["outputs"][0]["parameters"] == {"binary_data_size": 16}
        assert "data" not in content["outputs"][0]
        assert np.frombuffer(answer.body[length:], "<f8").tolist() == expected(model)
    assert (content["id"], content["model_name"], content["model_version"]) == ("42", "tiny", "3")


def test_classes_come_as_rows_of_bytes(tmp_path: Path, make_task_bundle) -> None:
    bundle = make_task_bundle(tmp_path, "multiclass")
    model = open_verified(bundle.folder, Identity("tiny", 3, 7, bundle.digest))
    content = with_tensor(name="hour")
    answer = ask(model, {**content, "parameters": {"binary_data_output": True}})
    length = int(dict(answer.headers)[b"inference-header-content-length"])
    (output,) = json.loads(answer.body[:length])["outputs"]
    assert (output["shape"], output["parameters"]) == ([2, 3], {"binary_data_size": 48})
    rows = np.frombuffer(answer.body[length:], "<f8").reshape(2, 3)
    assert rows.sum(axis=1) == pytest.approx([1, 1], abs=1e-5)


@pytest.mark.parametrize(
    ("changed", "row", "field", "text"),
    [
        ({"name": "hour", "datatype": "BOOL"}, None, "hour", "datatype must be a whole"),
        ({"name": "hour", "datatype": "BF16"}, None, "hour", "datatype must be a whole"),
        ({"name": "hour", "datatype": "BYTES"}, None, "hour", "datatype must be a whole"),
        ({"name": "hour", "datatype": "int64"}, None, "hour", "datatype must be a whole"),
        ({"name": "hour", "datatype": 5}, None, "hour", "datatype must be a whole"),
        ({"name": "hour", "shape": []}, None, "hour", "shape must be"),
        ({"name": "hour", "shape": [1, 2]}, None, "hour", "shape must be"),
        ({"name": "hour", "shape": [2, 1, 1]}, None, "hour", "shape must be"),
        ({"name": "hour", "shape": [True]}, None, "hour", "whole numbers"),
        ({"name": "hour", "shape": 2}, None, "hour", "whole numbers"),
        ({"name": "hour", "shape": [-2]}, None, "hour", "at least one row"),
        ({"name": "hour", "shape": [0], "data": []}, None, "hour", "at least one row"),
        ({"name": "hour", "shape": [3]}, None, "hour", "tells of 3 values, data holds 2"),
        ({"name": "hour", "shape": [MAX_ROWS + 1]}, None, "hour", "at most"),
        ({"name": "hour", "shape": [2**60]}, None, "hour", "at most"),
        ({"name": "hour", "data": 5}, None, "hour", "data must be a list"),
        ({"name": "hour", "data": [[15], [5]]}, 0, "hour", "must be a number"),
        ({"name": "hour", "shape": [2, 1], "data": [[15], 5]}, 1, "hour", "list of one value"),
        ({"name": "hour", "data": [15, "x"]}, 1, "hour", "must be a number"),
        ({"name": "hour", "data": [15, True]}, 1, "hour", "must be a number"),
        ({"name": "hour", "data": [15, 5.5]}, 1, "hour", "is no INT64"),
        ({"name": "hour", "datatype": "FP64", "data": [15, 5.5]}, 1, "hour", "whole number"),
        ({"name": "hour", "datatype": "INT8", "data": [15, 128]}, 1, "hour", "is no INT8"),
        ({"name": "hour", "datatype": "UINT8", "data": [-1, 128]}, 0, "hour", "is no UINT8"),
        ({"name": "hour", "extra": 1}, None, "hour", "unknown key 'extra'"),
        ({"name": "hour", "parameters": [], "data": [1, 2]}, None, "hour", "must be an object"),
        ({"name": "carrier"}, None, "carrier", "two tensors"),
        ({"name": "surprise", "data": ["a", "b"]}, None, "surprise", "unknown column"),
        ({"name": "flight", "datatype": "FP64", "data": [1, 2]}, None, "flight", "datatype must"),
        ({"name": "entity_key", "data": ["a", "b"]}, None, "hour", "missing"),
    ],
)
def test_bad_tensors(
    model: OnnxModel, changed: Any, row: int | None, field: str, text: str
) -> None:
    with pytest.raises(RowError, match=text) as caught:
        ask(model, with_tensor(**changed))
    assert (caught.value.row, caught.value.field) == (row, field)


HOURS = struct.pack("<2q", 15, 5)


@pytest.mark.parametrize(
    ("name", "size", "binary", "row", "text"),
    [
        ("hour", 16, HOURS[:15], None, "15 bytes are left"),
        ("hour", 8, HOURS[:8], None, "is 16 bytes, not 8"),
        ("hour", 24, HOURS + HOURS[:8], None, "is 16 bytes, not 24"),
        ("hour", -16, HOURS, None, "whole number of bytes"),
        ("hour", 16.0, HOURS, None, "whole number of bytes"),
        ("hour", True, HOURS, None, "whole number of bytes"),
        ("hour", "16", HOURS, None, "whole number of bytes"),
        ("hour", 2**60, HOURS, None, "bytes are left"),
        ("carrier", 3, b"\0\0\0", 0, "within the length of a text"),
        ("carrier", 6, texts(["AB"]), None, "holds 1 texts, not 2"),
        ("carrier", 8, struct.pack("<I", 5) + b"ABCD", 0, "within a text"),
        ("carrier", 8, struct.pack("<I", 2**32 - 1) + b"ABCD", 0, "within a text"),
        ("carrier", 15, texts(["A", "B", "C"]), None, "more than 2 texts"),
        ("carrier", 12, texts(["AB", "AB"])[:10] + b"\xff\xfe", 1, "UTF-8"),
        ("carrier", 0, b"", None, "holds 0 texts"),
    ],
)
def test_bad_bytes(
    model: OnnxModel, name: str, size: object, binary: bytes, row: int | None, text: str
) -> None:
    others = [tensor(other) for other in COLUMNS if other != name]
    content = {"inputs": [*others, tensor(name, parameters={"binary_data_size": size})]}
    with pytest.raises(RowError, match=text) as caught:
        ask(model, content, binary)
    assert (caught.value.row, caught.value.field) == (row, name)


def test_no_number_of_bytes_is_nan(model: OnnxModel) -> None:
    binary = np.array([1.0, np.nan], dtype="<f4").tobytes()
    sized = tensor("distance", "FP32", parameters={"binary_data_size": 8})
    with pytest.raises(RowError, match="finite") as caught:
        ask(model, {"inputs": [tensor("carrier"), tensor("hour"), sized]}, binary)
    assert (caught.value.row, caught.value.field) == (1, "distance")


def test_bytes_of_no_tensor_are_refused(model: OnnxModel) -> None:
    with pytest.raises(Refusal, match="16 bytes of the body belong to no tensor"):
        ask(model, with_tensor(name="hour"), HOURS)
    both = tensor("hour", data=[1, 2], parameters={"binary_data_size": 16})
    with pytest.raises(RowError, match="not both"):
        ask(model, {"inputs": [tensor("carrier"), tensor("distance"), both]}, HOURS)


@pytest.mark.parametrize(
    ("more", "field", "text"),
    [
        ({"outputs": [{"name": "early"}]}, "early", "no such output; there is 'late'"),
        ({"outputs": {"name": "late"}}, "outputs", "list of objects"),
        ({"outputs": ["late"]}, "outputs", "list of objects"),
        ({"outputs": [{"name": "late", "shape": [1]}]}, "outputs", "list of objects"),
        ({"outputs": [{"name": "late"}] * 2}, "late", "two outputs"),
        ({"outputs": [{"name": "late", "parameters": []}]}, "late", "must be an object"),
        (
            {"outputs": [{"name": "late", "parameters": {"binary_data": 1}}]},
            "binary_data",
            "true or false",
        ),
        (
            {"outputs": [{"name": "late", "parameters": {"classification": 2}}]},
            "late",
            "no 'classification' extension",
        ),
        ({"parameters": 5}, "parameters", "must be an object"),
        ({"parameters": {"binary_data_output": "yes"}}, "binary_data_output", "true or false"),
        ({"id": 5}, "id", "must be text"),
        ({"id": "x" * 1001}, "id", "longer than"),
        ({"model_name": "other"}, "model_name", "not the model of the path"),
        ({"surprise": 1}, "surprise", "unknown key"),
    ],
)
def test_bad_requests_beside_the_tensors(
    model: OnnxModel, more: Any, field: str, text: str
) -> None:
    with pytest.raises((RowError, Refusal), match=text) as caught:
        ask(model, {**with_tensor(name="hour"), **more})
    error: Any = caught.value
    told = error.content["field"] if isinstance(error, Refusal) else error.field
    assert told == field


def test_who_answers_is_told(model: OnnxModel) -> None:
    server = dialects.describe_server()
    assert server["name"] == "ferryman" and server["version"]
    assert server["extensions"] == ["binary_tensor_data"]
    both = {"champion": model, "previous": model}
    told = dialects.describe(find_route("/v2/models/tiny/versions/3"), model, both)
    assert told["versions"] == ["3", "3"]
    assert told["inputs"][0] == {"name": "carrier", "datatype": "BYTES", "shape": [-1]}
    ready = dialects.describe(find_route("/v2/models/tiny/versions/3/ready"), model, {})
    assert ready == {"name": "tiny", "ready": True}
