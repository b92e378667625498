"""TensorFlow Serving's REST, form by form: what its page tells a client to send and to expect."""

import json
from pathlib import Path
from typing import Any

import pytest
from linear_bundle import LINE, make_linear_bundle
from small_bundles import CLASSES

from ferryman.serving.models.onnx_model import Identity, OnnxModel, open_verified
from ferryman.serving.models.rows import MAX_ROWS, RowError
from ferryman.serving.protocols import dialects
from ferryman.serving.protocols.answers import Refusal
from ferryman.serving.protocols.requests import Request
from ferryman.serving.protocols.routes import find_route

EXAMPLE = {"carrier": "UA", "distance": 719.0, "hour": 15}


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> OnnxModel:
    folder, manifest = make_linear_bundle(tmp_path_factory.mktemp("bundles"))
    return open_verified(folder, Identity(LINE, 3, 7, manifest.digest))


@pytest.fixture
def binary(tmp_path: Path, make_bundle) -> OnnxModel:
    return _opened(make_bundle(tmp_path))


@pytest.fixture
def classes(tmp_path: Path, make_task_bundle) -> OnnxModel:
    return _opened(make_task_bundle(tmp_path, "multiclass"))


def _opened(bundle: Any) -> OnnxModel:
    return open_verified(bundle.folder, Identity("tiny", 3, 7, bundle.digest))


def ask(model: OnnxModel, verb: str, content: Any, *, path: str = "") -> Any:
    path = path or f"/v1/models/{model.identity.name}:{verb}"
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    request = Request(find_route(path), body)
    asked = dialects.read(request, model.schema)
    return json.loads(dialects.answer(request, asked, model, model.score(asked.rows)).body)


@pytest.mark.parametrize(
    ("content", "key"),
    [
        ({"instances": [{"x": 1}, {"x": 2}, {"x": 3}]}, "predictions"),
        ({"instances": [[1], [2.0], [3]]}, "predictions"),
        ({"instances": [1, 2, 3]}, "predictions"),
        ({"instances": [1, 2, 3], "signature_name": "serving_default"}, "predictions"),
        ({"instances": [1, 2, 3], "signature_name": ""}, "predictions"),
        ({"instances": [1, 2, 3], "signature_name": "tensorflow/serving/predict"}, "predictions"),
        ({"inputs": {"x": [1, 2, 3]}}, "outputs"),
        ({"inputs": [1, 2, 3]}, "outputs"),
        ({"inputs": [[1], [2], [3]]}, "outputs"),
    ],
)
def test_forms_of_predict(line: OnnxModel, content: Any, key: str) -> None:
    assert ask(line, "predict", content) == {key: [2.0, 4.0, 6.0]}


@pytest.mark.parametrize(
    "content",
    [
        [1, 2, 3],
        [{"x": 1}, {"x": 2}, {"x": 3}],
        b" \n[1, 2, 3]",
        {"instances": [1, 2, 3]},
        {"inputs": {"x": [1, 2, 3]}},
        {"inputs": [1, 2, 3]},
    ],
)
def test_our_own_path_takes_bare_rows_too_and_answers_predictions(
    line: OnnxModel, content: Any
) -> None:
    answer = ask(line, "", content, path="/api/v1/models/line/predict")
    assert answer == {"predictions": [2.0, 4.0, 6.0]}


def test_rows_as_lists_stand_in_the_order_of_the_features(binary: OnnxModel) -> None:
    named = ask(binary, "predict", {"instances": [EXAMPLE]})
    assert ask(binary, "predict", {"instances": [["UA", 719.0, 15]]}) == named


def test_a_bare_list_of_inputs_is_for_models_of_one_input(binary: OnnxModel) -> None:
    with pytest.raises(RowError, match="columns must be an object"):
        ask(binary, "predict", {"inputs": [["UA", 719.0, 15]]})


def test_classify_of_two_classes(binary: OnnxModel) -> None:
    content = {"signature_name": "tensorflow/serving/classify", "examples": [EXAMPLE, EXAMPLE]}
    answer = ask(binary, "classify", content)
    (chance, _) = ask(binary, "predict", {"instances": [EXAMPLE] * 2})["predictions"]
    assert answer["results"] == [[["0", 1 - chance], ["1", chance]]] * 2
    assert answer["result"] == answer["results"]


def test_classify_of_many_classes(classes: OnnxModel) -> None:
    (row,) = ask(classes, "classify", {"examples": [EXAMPLE]})["results"]
    (scores,) = ask(classes, "predict", {"instances": [EXAMPLE]})["predictions"]
    assert row == [list(pair) for pair in zip(CLASSES, scores, strict=True)]


def test_regress(line: OnnxModel, binary: OnnxModel) -> None:
    content = {"examples": [{"x": 1.0}, {"x": [2.0]}]}
    assert ask(line, "regress", content) == {"results": [2.0, 4.0], "result": [2.0, 4.0]}
    chance = ask(binary, "predict", {"instances": [EXAMPLE]})["predictions"]
    assert ask(binary, "regress", {"examples": [EXAMPLE]})["results"] == chance


def test_what_examples_share_stands_in_the_context(binary: OnnxModel) -> None:
    examples = [{"hour": 5}, {"hour": 20}]
    context = {"carrier": ["UA"], "distance": 719.0, "entity_key": "k"}
    shared = ask(binary, "regress", {"examples": examples, "context": context})
    whole = [{**EXAMPLE, **example} for example in examples]
    assert shared["results"] == ask(binary, "regress", {"examples": whole})["results"]


@pytest.mark.parametrize(
    ("content", "row", "field", "text"),
    [
        ({}, None, "examples", "at least one object"),
        ({"examples": []}, None, "examples", "at least one object"),
        ({"examples": {"x": 1}}, None, "examples", "at least one object"),
        ({"examples": [{"x": 1}, 2]}, 1, None, "must be an object"),
        ({"examples": [{"x": 1}], "context": []}, None, "context", "must be an object"),
        ({"examples": [{"x": 1}], "context": {"z": 1}}, None, "z", "unknown column"),
        ({"examples": [{}, {"x": 1}], "context": {"x": 1}}, 1, "x", "in the context too"),
        ({"examples": [{"x": [1, 2]}]}, 0, "x", "must be a number"),
        ({"examples": [{"x": []}]}, 0, "x", "must be a number"),
        ({"examples": [{}]}, 0, "x", "missing"),
        ({"examples": [{"x": 1}], "instances": []}, None, "instances", "unknown key"),
        ({"examples": [{"x": 1}], "signature_name": "other"}, None, "signature_name", "no such"),
        ({"examples": [{"x": 1}], "signature_name": 5}, None, "signature_name", "no such"),
        ({"examples": [{"x": 1}], "signature_name": []}, None, "signature_name", "no such"),
        ({"examples": [{}] * (MAX_ROWS + 1)}, None, None, "at most"),
    ],
)
def test_bad_examples(
    line: OnnxModel, content: Any, row: int | None, field: str | None, text: str
) -> None:
    with pytest.raises(RowError, match=text) as caught:
        ask(line, "regress", content)
    assert (caught.value.row, caught.value.field) == (row, field)


def test_a_verb_of_another_task_says_which_there_are(line: OnnxModel, classes: OnnxModel) -> None:
    with pytest.raises(Refusal, match="regression model answers no :classify; ask for :predict or"):
        ask(line, "classify", {"examples": [{"x": 1}]})
    with pytest.raises(Refusal, match="multiclass model answers no :regress") as caught:
        ask(classes, "regress", {"examples": [EXAMPLE]})
    assert caught.value.status == 400


def test_the_state_lists_every_loaded_version(line: OnnxModel, binary: OnnxModel) -> None:
    def versions(path: str) -> list[str]:
        status = dialects.describe(find_route(path), line, {"champion": line, "previous": binary})
        assert status["labels"] == {"champion": 3, "previous": 2}
        assert {entry["state"] for entry in status["model_version_status"]} == {"AVAILABLE"}
        return [entry["version"] for entry in status["model_version_status"]]

    binary.identity = Identity("line", 2, 6, "")
    assert versions("/v1/models/line") == ["3", "2"]
    assert versions("/v1/models/line/versions/3") == ["3"]
    assert versions("/v1/models/line/labels/champion") == ["3"]


def test_signatures_tell_of_every_verb(line: OnnxModel, classes: OnnxModel) -> None:
    told = dialects.describe(find_route("/v1/models/line/metadata"), line, {})
    assert told["model_spec"] == {"name": "line", "signature_name": "", "version": "3"}
    signatures = told["metadata"]["signature_def"]["signature_def"]
    assert signatures.keys() == {"serving_default", "tensorflow/serving/regress"}
    default = signatures["serving_default"]
    assert default["method_name"] == "tensorflow/serving/predict"
    assert default["inputs"]["x"]["dtype"] == "DT_DOUBLE"
    assert default["inputs"]["x"]["tensor_shape"]["dim"] == [{"size": "-1", "name": ""}]
    assert told["task"] == "regression"
    told = dialects.describe(find_route("/v1/models/tiny/versions/3/metadata"), classes, {})
    signatures = told["metadata"]["signature_def"]["signature_def"]
    assert signatures.keys() == {"serving_default", "tensorflow/serving/classify"}
    types = {name: it["dtype"] for name, it in signatures["serving_default"]["inputs"].items()}
    assert types == {"carrier": "DT_STRING", "distance": "DT_DOUBLE", "hour": "DT_INT64"}
    scores = signatures["tensorflow/serving/classify"]["outputs"]["scores"]
    assert [size["size"] for size in scores["tensor_shape"]["dim"]] == ["-1", "3"]
    assert told["classes"] == CLASSES
