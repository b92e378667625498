"""The exported graph answers as the pipeline does, or packaging stops."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from ferryman.errors import IntegrityBroken, SpecError
from ferryman.packaging.export import export_onnx, floor_float32
from ferryman.packaging.formats import open_graph
from ferryman.packaging.parity import ParityReport, Predict, Trained, answer_all, compare
from ferryman.packaging.probes import UNSEEN, probe_rows, raw_row
from ferryman.packaging.serving_graph import write_serving_graph
from ferryman.runtime.bundle import ONNX
from ferryman.spec.model import DeclaredModel
from ferryman.training.model_input import model_input
from ferryman.training.sklearn_trainer import SklearnModel
from ferryman.training.trainers import make_trainer

Frames = Callable[..., pd.DataFrame]
WORDS, NUMBERS = ["station", "sky"], ["humidity", "clouds"]


def ordinal() -> OrdinalEncoder:
    return OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, dtype=np.float32)


def imputed() -> Any:
    return make_pipeline(SimpleImputer(), StandardScaler())


def fit(estimator: Any, frame: pd.DataFrame, model: DeclaredModel) -> SklearnModel:
    columns = model.spec.features.columns
    return SklearnModel(
        estimator.fit(model_input(frame, columns), frame["label"]), columns, "binary"
    )


def check(predict: Predict, graph: Path, model: DeclaredModel, rows: pd.DataFrame) -> ParityReport:
    columns = model.spec.features.columns
    trained = Trained(rows, predict(rows), predict, columns, ["wet"])
    return compare(trained, {"onnx": open_graph(graph, columns)})


PIPELINES = {
    "trees over ordinals": lambda: make_pipeline(
        make_column_transformer((ordinal(), WORDS), ("passthrough", NUMBERS)),
        HistGradientBoostingClassifier(max_iter=30),
    ),
    "logistic over one-hot": lambda: make_pipeline(
        make_column_transformer(
            (OneHotEncoder(handle_unknown="ignore"), WORDS), (imputed(), NUMBERS)
        ),
        LogisticRegression(max_iter=500),
    ),
    "forest over ordinals": lambda: make_pipeline(
        make_column_transformer((ordinal(), WORDS), (SimpleImputer(), NUMBERS)),
        RandomForestClassifier(10, random_state=1),
    ),
}


@pytest.mark.parametrize("name", PIPELINES)
def test_graphs_answer_as_the_pipeline(
    name: str, rain: DeclaredModel, rain_frame: Frames, tmp_path: Path, caplog: Any
) -> None:
    frame, columns = rain_frame(10), rain.spec.features.columns
    fitted = fit(PIPELINES[name](), frame, rain)
    export_onnx(fitted.estimator, columns, tmp_path / ONNX, name="rain")
    probes = probe_rows(frame, columns, count=500, seed=1)
    report = check(fitted.predict, tmp_path / ONNX, rain, probes)
    assert report.rows == len(probes) > 500
    assert report.max_difference < 1e-5
    truth = Trained(probes, fitted.predict(probes), fitted.predict, columns, ["wet"])
    blocks, serving = write_serving_graph(tmp_path, truth)
    assert list(blocks) == ["text", "float32"]
    assert compare(truth, serving).max_difference < 1e-5
    assert "not simplified" not in caplog.text
    graph = onnx.load(tmp_path / ONNX)
    assert [entry.name for entry in graph.graph.input] == list(columns)
    assert [entry.name for entry in graph.graph.output] == ["probability"]


def test_equal_models_give_equal_bytes(
    rain: DeclaredModel, rain_frame: Frames, tmp_path: Path
) -> None:
    frame = rain_frame(3)
    for name in ("a", "b"):
        fitted = make_trainer(rain.spec).fit(frame, rain)
        export_onnx(fitted.estimator, rain.spec.features.columns, tmp_path / name, name="rain")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_values_next_to_a_threshold_stay_on_their_side(
    rain: DeclaredModel, rain_frame: Frames, tmp_path: Path
) -> None:
    """Neighbouring float32 values: their middle rounds to one of them in float32."""
    frame = rain_frame(4)
    low = np.float32(60.0)
    generator = np.random.default_rng(0)
    for _ in range(5):  # of these neighbours, some middles round up and some down
        high = np.nextafter(low, np.float32(np.inf))
        above = generator.random(len(frame)) < 0.5
        frame["humidity"] = np.where(above, high, low)
        frame["label"] = above ^ (generator.random(len(frame)) < 0.05)
        fitted = make_trainer(rain.spec).fit(frame, rain)
        columns = rain.spec.features.columns
        export_onnx(fitted.estimator, columns, tmp_path / "m.onnx", name="rain")
        assert check(fitted.predict, tmp_path / "m.onnx", rain, frame).max_difference < 1e-5
        low = high


def test_export_leaves_the_fitted_model_alone(
    rain: DeclaredModel, rain_frame: Frames, tmp_path: Path
) -> None:
    fitted = make_trainer(rain.spec).fit(rain_frame(3), rain)
    fitted.save(tmp_path / "before")
    export_onnx(fitted.estimator, rain.spec.features.columns, tmp_path / "m.onnx", name="rain")
    fitted.save(tmp_path / "after")
    assert (tmp_path / "before").read_bytes() == (tmp_path / "after").read_bytes()


def test_categorical_splits_that_onnx_cannot_hold_are_caught(
    rain: DeclaredModel, rain_frame: Frames, tmp_path: Path
) -> None:
    """The converter drops native categorical splits without a word: parity must notice."""
    frame, columns = rain_frame(10), rain.spec.features.columns
    native = make_pipeline(
        make_column_transformer((ordinal(), WORDS), ("passthrough", NUMBERS)),
        HistGradientBoostingClassifier(max_iter=20, categorical_features=[0, 1]),
    )
    fitted = fit(native, frame, rain)
    export_onnx(fitted.estimator, columns, tmp_path / "m.onnx", name="rain")
    with pytest.raises(
        IntegrityBroken, match=r"the worst is row \d+: .* where station='"
    ) as caught:
        check(fitted.predict, tmp_path / "m.onnx", rain, frame)
    assert "humidity=" in caught.value.text


def test_nan_from_the_graph_is_a_difference(
    rain: DeclaredModel, rain_frame: Frames, tmp_path: Path
) -> None:
    frame, columns = rain_frame(2), rain.spec.features.columns
    fitted = make_trainer(rain.spec).fit(frame, rain)
    export_onnx(fitted.estimator, columns, tmp_path / "m.onnx", name="rain")

    def broken(rows: pd.DataFrame) -> np.ndarray[Any, np.dtype[np.float64]]:
        scores = fitted.predict(rows)
        scores[7] = np.nan
        return scores

    with pytest.raises(IntegrityBroken, match="on 1 of 192 rows; the worst is row 7"):
        check(broken, tmp_path / "m.onnx", rain, frame)


def test_a_pipeline_that_cannot_answer_nulls_is_refused(
    rain: DeclaredModel, rain_frame: Frames
) -> None:
    frame, columns = rain_frame(5).dropna(), rain.spec.features.columns
    brittle = make_pipeline(
        make_column_transformer((ordinal(), WORDS), ("passthrough", NUMBERS)),
        LogisticRegression(max_iter=500),
    )
    fitted = fit(brittle, frame, rain)
    with pytest.raises(SpecError, match=r"cannot answer rows with nulls.*NaN"):
        answer_all(fitted.predict, probe_rows(frame, columns, count=50, seed=1))


def test_a_part_without_onnx_form_is_named(
    rain: DeclaredModel, rain_frame: Frames, tmp_path: Path
) -> None:
    class Unknown(LogisticRegression):
        pass

    frame = rain_frame(5).dropna()
    fitted = fit(make_pipeline(make_column_transformer((ordinal(), WORDS)), Unknown()), frame, rain)
    with pytest.raises(SpecError, match=r"no ONNX form: .*Unknown"):
        export_onnx(fitted.estimator, rain.spec.features.columns, tmp_path / "m", name="rain")


def test_probes_hold_every_kind_of_surprise(rain: DeclaredModel, rain_frame: Frames) -> None:
    frame, columns = rain_frame(5), rain.spec.features.columns
    probes = probe_rows(frame, columns, count=100, seed=1)
    extra = probes.iloc[100:]
    for name in WORDS:
        assert (extra[name] == UNSEEN).sum() >= 2
        assert (extra[name] == "").sum() >= 2
    for name in NUMBERS:
        assert extra[name].isna().sum() >= 2
        assert extra[name].min() < frame[name].min()
        assert extra[name].max() > frame[name].max()
    assert len(probe_rows(frame.head(3), columns, count=100, seed=1)) == 3 + len(extra)


def test_raw_rows_are_what_a_client_sends(rain: DeclaredModel) -> None:
    rows = pd.DataFrame(
        {
            "station": ["north", ""],
            "sky": ["", "grey"],
            "humidity": [60.5, np.nan],
            "clouds": [4, np.nan],
        }
    )
    columns = rain.spec.features.columns
    first, second = raw_row(rows, 0, columns), raw_row(rows, 1, columns)
    assert first == {"station": "north", "sky": None, "humidity": 60.5, "clouds": 4}
    assert isinstance(first["clouds"], int)
    assert second == {"station": None, "sky": "grey", "humidity": None, "clouds": None}


@pytest.mark.parametrize("value", [0.1, 1 / 3, -0.1, 1e300, -1e300, 16777217.0, 1e-46, 0.0, -2.5])
def test_rounding_down_is_the_greatest_float32_below(value: float) -> None:
    rounded = float(floor_float32(value))
    assert rounded <= value
    assert np.float32(rounded) == rounded
    with np.errstate(over="ignore"):
        assert float(np.nextafter(np.float32(rounded), np.float32(np.inf))) > value
