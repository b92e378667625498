"""Models of several classes and of a number are served, described, and logged as what they are."""

import json
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from logged_entries import entry_of
from small_bundles import CLASSES

from ferryman.errors import IntegrityBroken
from ferryman.runtime.bundle import GOLDEN, FeatureColumn
from ferryman.serving.log.prediction_log import read_predictions
from ferryman.serving.log.writer import PredictionLog
from ferryman.serving.models.onnx_model import Identity, OnnxModel, open_verified
from ferryman.serving.models.rows import RowError, RowSchema
from ferryman.serving.protocols import dialects
from ferryman.serving.protocols.requests import Request
from ferryman.serving.protocols.routes import find_route

DAY, NEXT = (datetime(2013, 1, day, tzinfo=UTC) for day in (1, 2))
PREDICT = "/v1/models/tiny:predict"
TIMED = {"event_time": "2013-01-01T10:15:00Z"}


def asked(path: str, content: Any) -> Request:
    return Request(find_route(path), json.dumps(content).encode())


def answered(model: OnnxModel, path: str, content: Any) -> Any:
    request = asked(path, content)
    read = dialects.read(request, model.schema)
    return json.loads(dialects.answer(request, read, model, model.score(read.rows)).body)


def described(model: OnnxModel, path: str) -> dict[str, Any]:
    return dialects.describe(find_route(path), model, {"champion": model})


def opened(bundle: Any, version: int = 1) -> OnnxModel:
    return open_verified(bundle.folder, Identity("tiny", version, version, bundle.digest))


@pytest.fixture
def classifier(tmp_path: Path, make_task_bundle) -> OnnxModel:
    return opened(make_task_bundle(tmp_path / "bundles", "multiclass"))


def test_classes_come_back_as_a_list_a_row(tmp_path: Path, make_task_bundle) -> None:
    bundle = make_task_bundle(tmp_path, "multiclass")
    model = opened(bundle)
    answer = answered(model, PREDICT, {"instances": bundle.rows})
    for got, expected in zip(answer["predictions"], bundle.outputs, strict=True):
        assert len(got) == 3
        assert got == pytest.approx(expected, abs=1e-5)
        assert sum(got) == pytest.approx(1, abs=1e-5)


def test_a_number_comes_back_as_a_number(tmp_path: Path, make_task_bundle) -> None:
    bundle = make_task_bundle(tmp_path, "regression")
    model = opened(bundle)
    scores = model.score(model.schema.read_rows(bundle.rows))
    assert scores == pytest.approx(bundle.outputs, abs=1e-3)
    assert described(model, "/v1/models/tiny")["task"] == "regression"
    assert described(model, "/v2/models/tiny")["outputs"][0]["shape"] == [-1]


def test_a_tensor_of_classes_has_two_dimensions(classifier: OnnxModel) -> None:
    data = {"carrier": ["UA", "AA"], "distance": [100.0, None], "hour": [5, 20]}
    kinds = {"carrier": "BYTES", "distance": "FP64", "hour": "INT64"}
    content = {
        "inputs": [
            {"name": name, "shape": [2], "datatype": kinds[name], "data": values}
            for name, values in data.items()
        ]
    }
    (output,) = answered(classifier, "/v2/models/tiny/infer", content)["outputs"]
    scores = answered(classifier, PREDICT, {"inputs": data})["outputs"]
    assert output["shape"] == [2, 3]
    assert output["data"] == [*scores[0], *scores[1]]
    metadata = described(classifier, "/v2/models/tiny")
    assert metadata["outputs"] == [{"name": "late", "datatype": "FP64", "shape": [-1, 3]}]
    assert (metadata["task"], metadata["classes"]) == ("multiclass", CLASSES)
    assert described(classifier, "/v1/models/tiny")["classes"] == CLASSES


@pytest.mark.parametrize(
    ("field", "value", "text"),
    [
        ("hour", None, "must not be null"),
        ("carrier", None, "must not be null or empty"),
        ("carrier", "", "must not be null or empty"),
    ],
)
def test_what_no_row_may_lack(classifier: OnnxModel, field: str, value: Any, text: str) -> None:
    good = {"carrier": "UA", "distance": None, "hour": 5}
    assert len(classifier.score(classifier.schema.read_rows([good]))) == 1
    with pytest.raises(RowError) as caught:
        classifier.score(classifier.schema.read_rows([good, {**good, field: value}]))
    assert (caught.value.text, caught.value.row, caught.value.field) == (text, 1, field)


def test_answers_that_are_no_numbers_are_refused(classifier: OnnxModel) -> None:
    import numpy as np

    # No graph that converts gives these: the session stands for one that is broken.
    classifier._session = SimpleNamespace(run=lambda *_: [answers])
    rows = classifier.schema.read_rows([{"carrier": "UA", "distance": 1.0, "hour": 5}] * 2)
    answers = np.array([[0.2, 0.3, 0.5], [0.2, np.nan, 0.5]], dtype=np.float32)
    with pytest.raises(RowError, match="no finite score") as caught:
        classifier.score(rows)
    assert caught.value.row == 1
    answers = np.array([[0.2, 0.8], [0.5, 0.5]], dtype=np.float32)
    with pytest.raises(RowError, match="not 3 classes a row"):
        classifier.score(rows)


def test_golden_answers_of_another_width_are_refused(tmp_path: Path, make_task_bundle) -> None:
    bundle = make_task_bundle(tmp_path, "multiclass")
    golden = json.loads((bundle.folder / GOLDEN).read_text())
    golden["outputs"] = [output[0] for output in golden["outputs"]]
    (bundle.folder / GOLDEN).write_text(json.dumps(golden))
    with pytest.raises(IntegrityBroken, match="holds answers of"):
        opened(bundle)


def log_scores(root: Path, model: OnnxModel, scores: Any) -> None:
    log = PredictionLog(root, lambda rows: pytest.fail(f"{rows} rows lost"))
    log.start()
    rows = [{"carrier": "UA", "distance": 1.0, "hour": 5, **TIMED} for _ in scores]
    request = asked(PREDICT, {"instances": rows})
    log.put(entry_of(model, request, f"r{model.identity.version}", scores=scores))
    log.close()


def test_logged_classes_come_back_in_any_declared_order(
    tmp_path: Path, classifier: OnnxModel
) -> None:
    log_scores(tmp_path / "log", classifier, [[0.1, 0.2, 0.7], [0.5, 0.25, 0.25]])

    def scores(*classes: str) -> list[Any]:
        table = read_predictions(
            tmp_path / "log", "tiny", DAY, NEXT, task="multiclass", classes=classes
        )
        return table.sort_by("entity_key")["score"].to_pylist()

    assert scores(*CLASSES) == [[0.1, 0.2, 0.7], [0.5, 0.25, 0.25]]
    assert scores("gone", "late", "early") == [[0.7, 0.1, 0.2], [0.25, 0.5, 0.25]]
    assert scores("late", "early") == [None, None]  # those of another declaration


def test_days_of_different_declarations_are_read_together(
    tmp_path: Path, make_bundle, make_task_bundle
) -> None:
    binary = opened(make_bundle(tmp_path / "b"), 1)
    classes = opened(make_task_bundle(tmp_path / "m", "multiclass"), 2)
    numbers = opened(make_task_bundle(tmp_path / "n", "regression"), 3)
    log_scores(tmp_path / "log", binary, [0.5])
    log_scores(tmp_path / "log", classes, [[0.1, 0.2, 0.7]])
    log_scores(tmp_path / "log", numbers, [12.5])

    def by_version(**what: Any) -> dict[int, Any]:
        table = read_predictions(tmp_path / "log", "tiny", DAY, NEXT, **what)
        return dict(zip(table["version"].to_pylist(), table["score"].to_pylist(), strict=True))

    assert by_version() == {1: 0.5, 2: None, 3: None}
    assert by_version(task="multiclass", classes=CLASSES) == {1: None, 2: [0.1, 0.2, 0.7], 3: None}
    assert by_version(task="regression") == {1: None, 2: None, 3: 12.5}


def test_a_feature_that_became_a_number_is_null_in_older_files(
    tmp_path: Path, classifier: OnnxModel
) -> None:
    log_scores(tmp_path / "log", classifier, [[0.1, 0.2, 0.7]])
    classifier.identity = Identity("tiny", 2, 2, "0" * 64)
    types = {"carrier": "number", "distance": "number", "hour": "category"}
    features = [FeatureColumn(name=name, type=kind) for name, kind in types.items()]
    classifier.signature = classifier.signature.model_copy(update={"features": features})
    tensors = {"number": "tensor(float)", "category": "tensor(string)"}
    inputs = {name: tensors[kind] for name, kind in types.items()}
    classifier.schema = RowSchema(classifier.signature, inputs)
    log = PredictionLog(tmp_path / "log", lambda rows: pytest.fail(f"{rows} rows lost"))
    log.start()
    row = {"carrier": 1.5, "distance": 1.0, "hour": "late", **TIMED}
    request = asked(PREDICT, {"instances": [row]})
    log.put(entry_of(classifier, request, "r2", scores=[[0.1, 0.2, 0.7]]))
    log.close()
    table = read_predictions(tmp_path / "log", "tiny", DAY, NEXT).sort_by("version")
    assert table["carrier"].to_pylist() == [None, 1.5]
    assert table["hour"].to_pylist() == [None, "late"]
