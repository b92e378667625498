"""The scikit-learn trainer: what it fits on, that it repeats itself, what it refuses."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from ferryman.errors import DataRejected, SpecError
from ferryman.spec.model import DeclaredModel
from ferryman.training.model_input import model_input
from ferryman.training.trainer import FitPlan
from ferryman.training.trainers import load_model_file, make_trainer

Frames = Callable[..., pd.DataFrame]


def test_learns_what_can_be_learnt(rain: DeclaredModel, rain_frame: Frames) -> None:
    fitted = make_trainer(rain.spec).fit(rain_frame(14), rain)
    later = rain_frame(7, seed=1)
    scores = fitted.predict(later)
    assert scores.shape == (len(later),)
    assert scores.dtype == np.float64
    assert 0.7 < roc_auc_score(later["label"], scores) < 0.9


def test_column_order_and_extra_columns_do_not_matter(
    rain: DeclaredModel, rain_frame: Frames
) -> None:
    frame = rain_frame(3)
    fitted = make_trainer(rain.spec).fit(frame, rain)
    mixed = frame[frame.columns[::-1]].assign(other=1)
    assert (fitted.predict(mixed) == fitted.predict(frame)).all()


def test_equal_seeds_give_equal_bytes(
    rain: DeclaredModel, rain_frame: Frames, tmp_path: Path
) -> None:
    for name in ("one", "two"):
        make_trainer(rain.spec).fit(rain_frame(5), rain).save(tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_cores_do_not_change_the_answers(
    rain: DeclaredModel, rain_frame: Frames, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = rain_frame(5)
    alone = make_trainer(rain.spec, cores=1).fit(frame, rain).predict(frame)
    monkeypatch.setattr("ferryman.training.sklearn_trainer._CELLS_PER_THREAD", 10)
    together = make_trainer(rain.spec, cores=2).fit(frame, rain).predict(frame)
    assert (alone == together).all()


def test_loaded_model_answers_as_the_fitted_one(
    rain: DeclaredModel, rain_frame: Frames, tmp_path: Path
) -> None:
    frame = rain_frame(5)
    fitted = make_trainer(rain.spec).fit(frame, rain)
    fitted.save(tmp_path / "model.skops")
    loaded = load_model_file(tmp_path / "model.skops", rain.spec)
    assert (loaded.predict(frame) == fitted.predict(frame)).all()


def test_numbers_are_float32_and_nulls_are_nan_or_empty(
    rain: DeclaredModel, rain_frame: Frames
) -> None:
    frame = rain_frame(1)
    frame.loc[0, ["sky"]] = None
    frame.loc[0, ["humidity", "clouds"]] = np.nan
    values = model_input(frame, rain.spec.features.columns)
    assert list(values.columns) == ["station", "sky", "humidity", "clouds"]
    assert values["humidity"].dtype == values["clouds"].dtype == np.float32
    assert values.loc[0, "sky"] == ""
    assert values.loc[0, ["humidity", "clouds"]].isna().all()


def test_missing_column_and_text_in_a_number_are_named(
    rain: DeclaredModel, rain_frame: Frames
) -> None:
    frame = rain_frame(1)
    with pytest.raises(DataRejected, match="missing: humidity"):
        model_input(frame.drop(columns="humidity"), rain.spec.features.columns)
    with pytest.raises(DataRejected, match="'clouds' is declared integer"):
        model_input(frame.assign(clouds="many"), rain.spec.features.columns)


def test_one_class_is_nothing_to_learn(rain: DeclaredModel, rain_frame: Frames) -> None:
    with pytest.raises(DataRejected, match="all 96 labels of the training data are true"):
        make_trainer(rain.spec).fit(
            rain_frame(1).assign(label=True), rain, FitPlan.of(rain.spec.train)
        )


def test_unknown_framework_and_format_are_refused(rain: DeclaredModel) -> None:
    other = rain.spec.train.model_copy(update={"framework": "torch"})
    with pytest.raises(SpecError, match="no trainer for framework 'torch'"):
        make_trainer(rain.spec.model_copy(update={"train": other}))
    with pytest.raises(SpecError, match="no format"):
        load_model_file(Path("model.pkl"), rain.spec)
