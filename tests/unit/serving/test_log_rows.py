"""What of a request is logged: declared columns only, whatever form the rows came in."""

import json
import struct
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from logged_entries import batches, entry_of

from ferryman.runtime.bundle import FeatureColumn, Signature
from ferryman.serving.log import columns as log_columns
from ferryman.serving.log.prediction_log import read_predictions
from ferryman.serving.log.writer import Entry, PredictionLog
from ferryman.serving.models.onnx_model import Identity, OnnxModel
from ferryman.serving.models.rows import RowSchema
from ferryman.serving.protocols.requests import Request
from ferryman.serving.protocols.routes import find_route

DAY = datetime(2013, 1, 1, tzinfo=UTC)
NEXT = datetime(2013, 1, 2, tzinfo=UTC)
V1, V2 = find_route("/v1/models/tiny:predict"), find_route("/v2/models/tiny/infer")
API = find_route("/api/v1/models/tiny/predict")
TIME = "2013-01-01T10:15:00Z"
ROW = {"carrier": "ÜA", "distance": 100, "hour": 5.0, "event_time": TIME}
Maker = Callable[..., OnnxModel]


@pytest.fixture
def make_model(tmp_path: Path, make_bundle: Any) -> Maker:
    def make(**changes: Any) -> OnnxModel:
        bundle = make_bundle(tmp_path / "bundles")
        model = OnnxModel(bundle.folder, Identity("tiny", 3, 7, bundle.digest))
        model.signature = model.signature.model_copy(update=changes)
        return model

    return make


def entry(model: OnnxModel, request: Request, name: str = "r1") -> Entry:
    return entry_of(model, request, name)


def asked(content: Any) -> Request:
    return Request(V1, json.dumps(content).encode())


def rows_of(*entries: Entry) -> list[dict[str, Any]]:
    return [row for _, batch in batches(*entries) for row in batch.to_pylist()]


def test_only_declared_columns_are_kept(make_model: Maker) -> None:
    model = make_model(logged=["hour"])
    (row,) = rows_of(entry(model, asked({"instances": [{**ROW, "flight": 12}]})))
    assert "carrier" not in row and "distance" not in row and "flight" not in row
    assert row["hour"] == 5
    (row,) = rows_of(entry(make_model(logged=[]), asked({"instances": [ROW]})))
    assert not {"carrier", "distance", "hour"} & row.keys()
    assert row["score"] == 0.25


@pytest.mark.parametrize(
    "request_",
    [
        asked({"instances": [ROW, {**ROW, "carrier": None, "distance": None, "hour": 6}]}),
        asked({"inputs": {"carrier": ["ÜA", None], "distance": [100.0, None], "hour": [5, 6],
                          "event_time": [TIME, TIME]}}),
        Request(API, json.dumps({"instances": [
            ROW, {**ROW, "carrier": None, "distance": None, "hour": 6}]}).encode()),
    ],
)  # fmt: skip
def test_every_form_is_logged_alike(make_model: Maker, request_: Request) -> None:
    found = rows_of(entry(make_model(), request_))
    cells = [(row["carrier"], row["distance"], row["hour"], row["event_time"]) for row in found]
    at = datetime(2013, 1, 1, 10, 15, tzinfo=UTC)
    assert cells == [("ÜA", 100.0, 5, at), (None, None, 6, at)]
    assert [row["entity_key"] for row in found] == ["r1#0", "r1#1"]


def test_rows_as_lists_and_binary_tensors_are_logged(make_model: Maker) -> None:
    model = make_model()
    order = ["UA", 100.5, 5]
    (row,) = rows_of(entry(model, asked({"instances": [order]})))
    assert (row["carrier"], row["distance"], row["hour"]) == ("UA", 100.5, 5)

    def tensor(name: str, datatype: str, content: bytes) -> dict[str, Any]:
        size = {"binary_data_size": len(content)}
        return {"name": name, "shape": [1], "datatype": datatype, "parameters": size}

    parts = [struct.pack("<I", 2) + b"AA", struct.pack("<d", 7.5), struct.pack("<q", 9)]
    kinds = [("carrier", "BYTES"), ("distance", "FP64"), ("hour", "INT64")]
    inputs = [tensor(*kind, part) for kind, part in zip(kinds, parts, strict=True)]
    head = json.dumps({"inputs": inputs}).encode()
    request = Request(V2, head + b"".join(parts), len(head))
    (row,) = rows_of(entry(model, request))
    assert (row["carrier"], row["distance"], row["hour"]) == ("AA", 7.5, 9)


def test_requests_with_one_id_keep_all_their_rows(make_model: Maker) -> None:
    model = make_model()
    found = rows_of(*[entry(model, asked({"instances": [ROW] * 2}), "x")] * 2)
    assert [row["request_id"] for row in found] == ["x"] * 4
    assert [row["entity_key"] for row in found] == ["x#0", "x#1", "x#0", "x#1"]


def test_a_feature_may_have_the_name_of_a_newer_column(make_model: Maker, tmp_path: Path) -> None:
    names = {"model": "category", "latency": "integer", "hour": "number"}
    features = [FeatureColumn(name=name, type=kind) for name, kind in names.items()]
    model = make_model()
    model.signature = Signature(features=features, entity=[], output="late")
    inputs = {"model": "tensor(string)", "latency": "tensor(float)", "hour": "tensor(float)"}
    model.schema = RowSchema(model.signature, inputs)
    log = PredictionLog(tmp_path / "log", lambda rows: pytest.fail(f"{rows} lost"))
    log.start()
    row = {"model": "A320", "latency": 3, "hour": 1.5, "event_time": TIME}
    log.put(entry(model, asked({"instances": [row]})))
    log.close()
    (found,) = read_predictions(tmp_path / "log", "tiny", DAY, NEXT).to_pylist()
    assert (found["model"], found["latency"], found["variant"]) == ("A320", 3, "champion")


def test_one_request_that_makes_no_sense_costs_no_other(make_model: Maker, tmp_path: Path) -> None:
    drops: list[int] = []
    log = PredictionLog(tmp_path / "log", drops.append)
    model = make_model()
    good = entry(model, asked({"instances": [ROW]}))
    for number in range(3):
        log.put(good._replace(request_id=b"r%d" % number))
        log.put(good._replace(request_id=b"bad", scores=[0.1, 0.2]))
        log.put(good._replace(request_id=b"odd", given={"event_time": [object()]}))
    log.start()
    assert log.flush()
    log.close()
    table = read_predictions(tmp_path / "log", "tiny", DAY, NEXT)
    assert sorted(table["request_id"].to_pylist()) == ["r0", "r1", "r2"]
    assert sum(drops) == 9


def test_columns_hold_what_the_lists_held() -> None:
    assert log_columns.text_column(["a", None, "", "ü€😀"]).to_pylist() == ["a", None, "", "ü€😀"]
    assert log_columns.text_column([]).to_pylist() == []
    numbers = [1, None, 2.5, float("nan")]
    assert log_columns.number_column(numbers).to_pylist() == [1.0, None, 2.5, None]
    whole = [2**53 - 1, None, -5.0]
    assert log_columns.number_column(whole, whole=True).to_pylist() == [2**53 - 1, None, -5]
    assert log_columns.list_column([[0.1, 0.9], [1, 0]]).to_pylist() == [[0.1, 0.9], [1.0, 0.0]]
    assert log_columns.constant_column("ü", 3).to_pylist() == ["ü"] * 3
    assert log_columns.constant_column(7, 2).to_pylist() == [7, 7]
    for column in (log_columns.text_column(["x"] * 70), log_columns.number_column([None] * 70)):
        column.validate(full=True)
