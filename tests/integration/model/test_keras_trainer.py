"""The Keras trainer: every task, the same again, its file, and mistakes of the user's folder."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from keras_models import hills, places

from ferryman.errors import DataRejected, PolicyRefused, SpecError
from ferryman.training.trainer import FitPlan
from ferryman.training.trainers import load_model_file, make_trainer


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_every_task_is_learnt_and_its_file_answers_the_same(tmp_path: Path, task: str) -> None:
    model, later = hills(tmp_path, task), places(task, seed=1)
    fitted = make_trainer(model.spec).fit(places(task), model)
    answers = fitted.predict(later.assign(other=1)[["other", "north", "east", "label"]])
    assert answers.dtype == np.float64
    assert answers.shape == ((601, 3) if task == "multiclass" else (601,))
    if task == "regression":
        assert np.abs(answers - later["label"]).mean() < 0.3
    elif task == "binary":
        assert ((answers > 0.5) == later["label"]).mean() > 0.95
    else:
        assert answers.sum(axis=1) == pytest.approx(1, abs=1e-12)
        names = np.array(model.spec.train.classes)[answers.argmax(axis=1)]
        assert (names == later["label"]).mean() > 0.9
    assert len(fitted.history) == 12
    assert fitted.history[-1]["loss"] < fitted.history[0]["loss"]
    assert set(fitted.history[0]) == {"loss", "mae" if task == "regression" else "accuracy"}
    fitted.save(tmp_path / "model.keras")
    loaded = load_model_file(tmp_path / "model.keras", model.spec)
    assert (loaded.predict(later) == answers).all()
    assert len(loaded.predict(later.head(0))) == 0


_FIT = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from keras_models import hills, places
from ferryman.training.trainers import make_trainer
model = hills(Path(sys.argv[1]), "binary", extra="layers.Dropout(0.2),")
make_trainer(model.spec).fit(places("binary"), model).save(Path(sys.argv[1]) / "model.keras")
"""


def test_a_second_fit_gives_the_same_bytes_and_so_does_another_process(tmp_path: Path) -> None:
    model = hills(tmp_path / "here", "binary", extra="layers.Dropout(0.2),")
    for name in ("one", "two"):
        make_trainer(model.spec).fit(places("binary"), model).save(tmp_path / name)
    other = make_trainer(model.spec).fit(
        places("binary"), model, FitPlan("pipeline.py:build", {"epochs": 12}, seed=8)
    )
    other.save(tmp_path / "other")
    (tmp_path / "there").mkdir()
    command = [sys.executable, "-c", _FIT, str(tmp_path / "there"), str(Path(__file__).parent)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=200)
    assert done.stdout == done.stderr == ""  # TensorFlow's greetings are not the user's business
    first = (tmp_path / "one").read_bytes()
    assert (tmp_path / "two").read_bytes() == first
    assert (tmp_path / "there" / "model.keras").read_bytes() == first
    assert (tmp_path / "other").read_bytes() != first


@pytest.mark.parametrize(
    ("task", "changed", "told"),
    [
        ("binary", {"outputs": 2}, r"is \[None, 2\] -> \[None, 2\], and must be .* \[None, 1\]"),
        ("binary", {"inputs": 3}, r"\[None, 3\] -> \[None, 1\], and must be \[None, 2\]"),
        ("multiclass", {"outputs": 4}, r"must be \[None, 2\] -> \[None, 3\].*one a class"),
        ("multiclass", {"activation": None}, r"no probabilities.*activation 'softmax'"),
        ("binary", {"activation": "tanh"}, r"no probabilities.*activation 'sigmoid'"),
        ("binary", {"activation": "wavy"}, r"pipeline\.py:9: ValueError"),
        ("regression", {"loss": "mess"}, r"pipeline\.py:\d+: ValueError"),
        ("regression", {"extra": "layers.Dense(4, activation=None) / 2,"}, r"pipeline\.py:8: Type"),
    ],
)
def test_a_wrong_model_is_told_with_its_place(
    tmp_path: Path, task: str, changed: dict[str, object], told: str
) -> None:
    model = hills(tmp_path, task, **changed)
    with pytest.raises(SpecError, match=rf"(?s){told}"):
        make_trainer(model.spec).fit(places(task), model)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])", "which is not compiled"),
        ("__import__('sklearn.svm').svm.SVC()", "returned SVC, no keras.Model"),
    ],
)
def test_what_is_no_compiled_model_is_told(tmp_path: Path, text: str, told: str) -> None:
    model = hills(tmp_path, "binary")
    code = f"import keras\ndef build(params, seed):\n    return {text}\n"
    (model.folder / "pipeline.py").write_text(code)
    with pytest.raises(SpecError, match=told):
        make_trainer(model.spec).fit(places("binary"), model)


def test_nulls_that_spoil_the_loss_are_named(tmp_path: Path) -> None:
    model, frame = hills(tmp_path, "regression"), places("regression")
    frame.loc[3, "north"] = np.nan
    with pytest.raises(SpecError, match=r"loss is nan in epoch 1; columns with nulls: north"):
        make_trainer(model.spec).fit(frame, model)


def test_equal_labels_are_nothing_to_learn(tmp_path: Path) -> None:
    model = hills(tmp_path, "multiclass")
    with pytest.raises(DataRejected, match="are 'low'"):
        make_trainer(model.spec).fit(places("multiclass").assign(label="low"), model)


def test_own_code_in_a_model_cannot_be_saved(tmp_path: Path) -> None:
    model = hills(tmp_path, "binary", extra="layers.Lambda(lambda x: x * 2),")
    fitted = make_trainer(model.spec).fit(places("binary"), model)
    with pytest.raises(PolicyRefused, match=r"keras\.layers\.Lambda"):
        fitted.save(tmp_path / "model.keras")
    assert not (tmp_path / "model.keras").exists()
