"""Attributions sum to the answers: every task, every framework, nulls and categories included."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from keras_models import CLASSES, hills, places

from ferryman.errors import IntegrityBroken
from ferryman.evaluation.explanation import Explanation, explain
from ferryman.spec.model import DeclaredModel
from ferryman.training.trainers import make_trainer

WEIGHTS = np.array([[1.0, -2.0, 0.5, 0.0, 3.0, -1.0, 0.25, 2.0]]).T


def _sums(found: Explanation) -> None:
    sums = found.base + found.attributions.sum(axis=1)
    assert np.abs(sums - found.answers).max() <= 1e-6 * max(1.0, np.abs(found.answers).max())
    assert found.gap <= 1e-6 * max(1.0, np.abs(found.answers).max())


def _numbers(rows: int, seed: int = 0) -> pd.DataFrame:
    generator = np.random.default_rng(seed)
    values = generator.normal(size=(rows, len(WEIGHTS)))
    return pd.DataFrame(values, columns=[f"x{place}" for place in range(len(WEIGHTS))])


def _linear(frame: pd.DataFrame) -> np.ndarray:
    return np.asarray(frame.to_numpy(dtype=float) @ WEIGHTS)[:, 0]


def test_a_pipeline_with_categories_and_nulls(
    rain: DeclaredModel, rain_frame: Callable[..., pd.DataFrame]
) -> None:
    frame = rain_frame(8)
    model = make_trainer(rain.spec).fit(frame, rain)
    names = list(rain.spec.features.columns)
    rows = frame.iloc[-30:]
    assert rows["humidity"].isna().any()
    found = explain(model.predict, rows, frame, names, seed=3)
    _sums(found)
    assert (found.method, found.unit, found.background_rows) == ("exact", "probability", 50)
    assert found.attributions.shape == (30, 4)
    assert np.allclose(found.answers, model.predict(rows))
    assert next(iter(found.importance)) in ("humidity", "sky")
    again = explain(model.predict, rows, frame, names, seed=3)
    assert np.array_equal(found.attributions, again.attributions)


def test_a_linear_model_has_its_weights() -> None:
    background, rows = _numbers(40), _numbers(12, seed=1)
    state = np.random.get_state()[1].tolist()  # type: ignore[union-attr]
    found = explain(_linear, rows, background, list(rows), unit="value", seed=1)
    assert np.random.get_state()[1].tolist() == state  # type: ignore[union-attr]
    _sums(found)
    assert found.method == "permutation"
    wanted = (rows.to_numpy() - background.to_numpy().mean(axis=0)) * WEIGHTS[:, 0]
    assert np.allclose(found.attributions, wanted)
    assert found.base == pytest.approx(_linear(background).mean())
    assert next(iter(found.importance)) == "x4"
    assert list(found.importance)[-1] == "x3"


def test_a_null_is_a_value_like_any_other() -> None:
    def predict(frame: pd.DataFrame) -> np.ndarray:
        lacking = frame["x0"].isna().to_numpy(dtype=float)
        return lacking + (frame["word"] == "").to_numpy(dtype=float) * 2

    rows = pd.DataFrame({"x0": [np.nan, 1.0], "word": ["", "a"]})
    background = pd.DataFrame({"x0": [1.0, 2.0, np.nan, 4.0], "word": ["a", "b", "c", "d"]})
    found = explain(predict, rows, background, ["x0", "word"], unit="value")
    assert np.allclose(found.attributions, [[0.75, 2.0], [-0.25, 0.0]])


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_keras_models_of_every_task(tmp_path: Path, task: str) -> None:
    declared = hills(tmp_path, task)
    frame = places(task, rows=300)
    model = make_trainer(declared.spec).fit(frame, declared)
    classes = CLASSES if task == "multiclass" else []
    found = explain(model.predict, frame.iloc[:20], frame, ["east", "north"], classes=classes)
    _sums(found)
    assert found.attributions.shape == ((20, 2, 3) if classes else (20, 2))
    assert next(iter(found.importance)) == "north"  # it counts twice
    if classes:
        assert np.allclose(found.base.sum(), 1)
        assert np.abs(found.attributions.sum(axis=2)).max() < 1e-6  # what one gains others lose


def test_many_features_of_classes() -> None:
    weights = np.random.default_rng(6).normal(size=(40, 3))

    def predict(frame: pd.DataFrame) -> np.ndarray:
        raised = np.exp(frame.to_numpy(dtype=float) @ weights)
        return np.asarray(raised / raised.sum(axis=1, keepdims=True))

    values = np.random.default_rng(7).normal(size=(300, 40)) / 8
    frame = pd.DataFrame(values, columns=[f"p{place}" for place in range(40)])
    found = explain(predict, frame.iloc[:100], frame, list(frame), classes=["a", "b", "c"])
    _sums(found)
    assert 8 <= found.background_rows < 50  # bounded cost
    assert len(found.as_json()["importance"]) == 40  # type: ignore[arg-type]


def test_a_model_that_answers_differently_each_time_is_refused() -> None:
    generator = np.random.default_rng(8)

    def predict(frame: pd.DataFrame) -> np.ndarray:
        return generator.random(len(frame))

    rows = _numbers(5)
    with pytest.raises(IntegrityBroken, match="do not sum to the answers"):
        explain(predict, rows, _numbers(20, seed=1), list(rows))


def test_no_rows() -> None:
    rows = _numbers(5)
    with pytest.raises(ValueError, match="needs rows"):
        explain(_linear, rows.iloc[:0], rows, list(rows))
