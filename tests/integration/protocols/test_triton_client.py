"""NVIDIA's own client of the Open Inference Protocol against a running server."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from small_bundles import CLASSES


@pytest.fixture(scope="module")
def client(server) -> Iterator[Any]:
    from tritonclient.http import InferenceServerClient

    with InferenceServerClient(server.address) as client:
        yield client


def tensors(rows: list[dict[str, Any]], *, binary: bool, distance: str = "FP64") -> list[Any]:
    from tritonclient.http import InferInput
    from tritonclient.utils import triton_to_np_dtype

    made = []
    for name, datatype in (("carrier", "BYTES"), ("distance", distance), ("hour", "INT64")):
        values = np.array([row[name] for row in rows], dtype=triton_to_np_dtype(datatype))
        tensor = InferInput(name, [len(rows)], datatype)
        tensor.set_data_from_numpy(values, binary_data=binary)
        made.append(tensor)
    return made


def test_states(client: Any) -> None:
    assert client.is_server_live() and client.is_server_ready()
    assert client.is_model_ready("tiny") and client.is_model_ready("tiny", "2")
    assert not client.is_model_ready("tiny", "9")
    assert not client.is_model_ready("none")
    assert client.get_server_metadata()["extensions"] == ["binary_tensor_data"]


def test_metadata(client: Any) -> None:
    told = client.get_model_metadata("tiny")
    assert (told["name"], told["versions"], told["platform"]) == (
        "tiny",
        ["3", "2"],
        "onnxruntime_onnx",
    )
    assert [(it["name"], it["datatype"], it["shape"]) for it in told["inputs"]] == [
        ("carrier", "BYTES", [-1]),
        ("distance", "FP64", [-1]),
        ("hour", "INT64", [-1]),
    ]
    assert told["outputs"] == [{"name": "late", "datatype": "FP64", "shape": [-1]}]


@pytest.mark.parametrize("as_bytes", [True, False])
@pytest.mark.parametrize("out_as_bytes", [True, False, None])
def test_tensors_as_bytes_and_as_json(
    client: Any, server: Any, as_bytes: bool, out_as_bytes: bool | None
) -> None:
    from tritonclient.http import InferRequestedOutput

    outputs = None
    if out_as_bytes is not None:
        outputs = [InferRequestedOutput("late", binary_data=out_as_bytes)]
    asked = tensors(server.bundle.rows, binary=as_bytes)
    result = client.infer("tiny", asked, outputs=outputs, request_id="42")
    assert result.as_numpy("late").dtype == np.float64
    assert result.as_numpy("late") == pytest.approx(np.array(server.bundle.outputs), abs=1e-5)
    told = result.get_response()
    assert (told["id"], told["model_name"], told["model_version"]) == ("42", "tiny", "3")


@pytest.mark.parametrize("datatype", ["FP32", "INT16", "UINT64"])
def test_other_numbers(client: Any, server: Any, datatype: str) -> None:
    rows = [{**row, "distance": round(row["distance"])} for row in server.bundle.rows]
    expected = server.http.post("/v1/models/tiny:predict", json={"instances": rows}).json()
    for as_bytes in (True, False):
        result = client.infer("tiny", tensors(rows, binary=as_bytes, distance=datatype))
        assert result.as_numpy("late").tolist() == expected["predictions"]


def test_classes_are_a_row_each(client: Any, server: Any) -> None:
    for as_bytes in (True, False):
        result = client.infer("kinds", tensors(server.kinds.rows, binary=as_bytes))
        assert result.as_numpy("late") == pytest.approx(np.array(server.kinds.outputs), abs=1e-5)
    told = client.get_model_metadata("kinds", "1")
    assert (told["outputs"][0]["shape"], told["classes"]) == ([-1, 3], CLASSES)


def test_the_version_before_is_warm(client: Any, server: Any) -> None:
    asked = tensors(server.older.rows, binary=True)
    result = client.infer("tiny", asked, model_version="2")
    assert result.as_numpy("late") == pytest.approx(np.array(server.older.outputs), abs=1e-5)
    assert result.get_response()["model_version"] == "2"


def test_many_requests_at_once(client: Any, server: Any) -> None:
    asked = tensors(server.bundle.rows, binary=True)
    waiting = [client.async_infer("tiny", asked) for _ in range(20)]
    for request in waiting:
        answered = request.get_result().as_numpy("late")
        assert answered == pytest.approx(np.array(server.bundle.outputs), abs=1e-5)


def test_errors_are_told(client: Any, server: Any) -> None:
    from tritonclient.http import InferInput, InferRequestedOutput
    from tritonclient.utils import InferenceServerException

    good = tensors(server.bundle.rows, binary=True)

    def refused(status: str, text: str, **asked: Any) -> None:
        with pytest.raises(InferenceServerException, match=text) as caught:
            client.infer(**{"model_name": "tiny", "inputs": good, **asked})
        assert caught.value.status() == status

    refused("404", "no such model", model_name="none")
    refused("404", "no such version", model_version="9")
    refused("400", "no such output", outputs=[InferRequestedOutput("early")])
    refused("400", "no 'classification'", outputs=[InferRequestedOutput("late", class_count=2)])
    refused("400", "column is missing", inputs=good[:2])
    flags = InferInput("hour", [len(server.bundle.rows)], "BOOL")
    flags.set_data_from_numpy(np.array([True] * len(server.bundle.rows)))
    refused("400", "datatype must be", inputs=[*good[:2], flags])
    holes = InferInput("distance", [len(server.bundle.rows)], "FP64")
    holes.set_data_from_numpy(np.full(len(server.bundle.rows), np.nan))
    refused("400", "must be finite", inputs=[good[0], holes, good[2]])
