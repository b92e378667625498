"""Multiclass and regression: exported in their shapes, compared to the class and the row."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd
import pytest
from onnx import numpy_helper
from sklearn.compose import make_column_transformer
from sklearn.ensemble import (
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from threadpoolctl import threadpool_limits

from ferryman.errors import IntegrityBroken, SpecError
from ferryman.packaging.export import export_onnx
from ferryman.packaging.formats import open_graph
from ferryman.packaging.parity import ParityReport, Trained, answer_all, compare, tolerance_of
from ferryman.packaging.probes import UNSEEN, probe_rows
from ferryman.runtime.onnx_library import load_onnxruntime
from ferryman.spec.data import FeatureSpec
from ferryman.spec.metrics import Task
from ferryman.training.model_input import model_input
from ferryman.training.sklearn_trainer import SklearnModel

COLUMNS: Mapping[str, FeatureSpec] = {
    "shop": FeatureSpec(type="category"),
    "size": FeatureSpec(type="number"),
    "value": FeatureSpec(type="integer", nullable=False),
}
CLASSES = ["small", "middle", "large"]


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    generator = np.random.default_rng(3)
    rows = pd.DataFrame(
        {
            "shop": generator.choice(["a", "b", "c"], 400).astype(object),
            "size": generator.normal(1000, 200, 400),
            "value": generator.integers(0, 50, 400).astype("float64"),
        }
    )
    rows["price"] = 40 * rows["size"] + 1000 * rows["value"] + 5000 * (rows["shop"] == "b")
    rows["cup"] = np.digitize(rows["price"], [60_000, 75_000])
    rows.loc[::17, "size"] = np.nan
    return rows


def pipeline(last: Any) -> Any:
    words = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    return make_pipeline(
        make_column_transformer((words, ["shop"]), (numbers, ["size", "value"])), last
    )


def trees(last: Any) -> Any:
    words = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    return make_pipeline(
        make_column_transformer((words, ["shop"]), ("passthrough", ["size", "value"])), last
    )


def fit(estimator: Any, frame: pd.DataFrame, task: Task) -> SklearnModel:
    labels = frame["price" if task == "regression" else "cup"].to_numpy()
    with threadpool_limits(1):
        estimator.fit(model_input(frame, COLUMNS), labels)
    return SklearnModel(estimator, COLUMNS, task)


def trained(model: SklearnModel, frame: pd.DataFrame, task: Task) -> Trained:
    rows = probe_rows(frame, COLUMNS, count=200, seed=1)
    answers = answer_all(model.predict, rows)
    outputs = CLASSES if task == "multiclass" else ["price"]
    return Trained(rows, answers, model.predict, COLUMNS, outputs, tolerance_of(task, answers))


def check(truth: Trained, graph: Path) -> ParityReport:
    return compare(truth, {"onnx": open_graph(graph, COLUMNS)})


ESTIMATORS: dict[str, tuple[Task, Any]] = {
    "logistic": ("multiclass", lambda: pipeline(LogisticRegression(max_iter=300))),
    "boosted classes": ("multiclass", lambda: trees(HistGradientBoostingClassifier(max_iter=10))),
    "ridge": ("regression", lambda: pipeline(Ridge())),
    "boosted numbers": ("regression", lambda: trees(HistGradientBoostingRegressor(max_iter=20))),
    "older boosting": ("regression", lambda: pipeline(GradientBoostingRegressor(n_estimators=20))),
}


@pytest.mark.parametrize("name", ESTIMATORS)
def test_graph_answers_as_the_pipeline_in_its_shape(
    name: str, frame: pd.DataFrame, tmp_path: Path
) -> None:
    task, make = ESTIMATORS[name]
    model = fit(make(), frame, task)
    truth = trained(model, frame, task)
    graph = tmp_path / "m.onnx"
    export_onnx(model.estimator, COLUMNS, graph, name="cups", task=task)
    report = check(truth, graph)
    assert report.formats["onnx"] <= report.tolerance
    session = load_onnxruntime().InferenceSession(graph)
    (output,) = session.get_outputs()
    # A feature is called `value`: the output of a regression must not be.
    expected = ("probability", ["rows", 3]) if task == "multiclass" else ("value_", ["rows"])
    assert (output.name, output.shape) == expected


@contextmanager
def spoiling(
    model: SklearnModel, task: Task, graph: Path, kind: str, attribute: str
) -> Iterator[Any]:
    """The numbers of one attribute of an exported graph, to be changed; written afterwards."""
    export_onnx(model.estimator, COLUMNS, graph, name="cups", task=task)
    proto = onnx.load(graph)
    (node,) = [node for node in proto.graph.node if node.op_type == kind]
    (found,) = [entry for entry in node.attribute if entry.name == attribute]
    yield found.floats
    onnx.save(proto, graph)


def test_a_wrong_weight_names_row_class_and_values(frame: pd.DataFrame, tmp_path: Path) -> None:
    model = fit(pipeline(LogisticRegression(max_iter=300)), frame, "multiclass")
    truth, graph = trained(model, frame, "multiclass"), tmp_path / "m.onnx"
    with spoiling(model, "multiclass", graph, "LinearClassifier", "coefficients") as weights:
        weights[1] += 1.0  # of the class `small`, for the shop `b`
    with pytest.raises(
        IntegrityBroken, match=r"row \d+: column '(small|middle|large)' is"
    ) as caught:
        check(truth, graph)
    assert "shop='b'" in caught.value.text
    assert caught.value.text.endswith("feature column 'shop' carries it")


def test_a_wrong_imputation_names_the_feature_column(frame: pd.DataFrame, tmp_path: Path) -> None:
    model = fit(pipeline(Ridge()), frame, "regression")
    truth, graph = trained(model, frame, "regression"), tmp_path / "m.onnx"
    with spoiling(model, "regression", graph, "Imputer", "imputed_value_floats") as means:
        means[0] *= 1.01
    with pytest.raises(IntegrityBroken, match="column 'price' is") as caught:
        check(truth, graph)
    assert "size=None" in caught.value.text
    assert caught.value.text.endswith("feature column 'size' carries it")


def test_a_wrong_scale_is_found_on_every_row(frame: pd.DataFrame, tmp_path: Path) -> None:
    """No row agrees, so that no column can be blamed; row and output are named all the same."""
    model = fit(pipeline(Ridge()), frame, "regression")
    truth, graph = trained(model, frame, "regression"), tmp_path / "m.onnx"
    with spoiling(model, "regression", graph, "Scaler", "offset") as offset:
        offset[1] += 1.0
    with pytest.raises(IntegrityBroken, match=r"on (\d+) of \1 rows") as caught:
        check(truth, graph)
    assert "carries it" not in caught.value.text


def test_another_shape_is_no_answer(frame: pd.DataFrame, tmp_path: Path) -> None:
    model = fit(pipeline(LogisticRegression(max_iter=300)), frame, "multiclass")
    truth = trained(model, frame, "multiclass")
    with pytest.raises(IntegrityBroken, match="answers in the shape"):
        compare(truth, {"onnx": lambda rows: model.predict(rows)[:, 0]})


def test_probes_leave_columns_that_may_not_be_null_alone(frame: pd.DataFrame) -> None:
    probes = probe_rows(frame, COLUMNS, count=50, seed=1)
    assert not probes["value"].isna().any()
    assert probes["size"].isna().any()
    assert (probes["shop"] == UNSEEN).any()


def test_tolerance_of_a_regression_is_a_share_of_its_answers() -> None:
    assert tolerance_of("binary", np.array([0.2])) == 1e-5
    assert tolerance_of("regression", np.array([-5000.0, 10.0])) == pytest.approx(0.05)
    assert tolerance_of("regression", np.zeros(2)) == 1e-5


def test_a_model_that_answers_null_with_nan_is_refused(frame: pd.DataFrame) -> None:
    """A network does so without an error; the columns are named."""
    with pytest.raises(SpecError, match=r"no finite number for .* nulls in: size"):
        answer_all(lambda rows: rows["size"].to_numpy(), frame.drop(columns=["price", "cup"]))


def test_constants_are_the_only_initializers_left(frame: pd.DataFrame, tmp_path: Path) -> None:
    model = fit(pipeline(LogisticRegression(max_iter=300)), frame, "multiclass")
    export_onnx(model.estimator, COLUMNS, tmp_path / "m", name="cups", task="multiclass")
    graph = onnx.load(tmp_path / "m").graph
    read = {name for node in graph.node for name in node.input}
    assert all(entry.name in read for entry in graph.initializer)
    assert all(numpy_helper.to_array(entry).size for entry in graph.initializer)
