"""Small Keras models of every task, declared in a folder and really fitted."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
import yaml
from small_bundles import _small_bundles, make_bundle

from ferryman.packaging.bundle_writer import Bundle, PackedModel, write_bundle
from ferryman.spec.loader import load_model
from ferryman.spec.model import DeclaredModel
from ferryman.training.trainers import load_model_file, make_trainer

__all__ = ["_small_bundles", "fit_keras", "make_bundle"]

ZOO = Path(__file__).parents[2] / "zoo"
CLASSES = ["clear", "grey", "black"]
PIPELINE = """
import keras
import numpy as np


def build(params, seed):
    scale = keras.layers.Normalization()
    scale.adapt(np.array([[20.0, 0.0], [100.0, 8.0]], dtype="float32"))
    layers = [keras.Input((2,)), scale, keras.layers.Dense(6, activation="tanh")]
    last = {"binary": (1, "sigmoid"), "multiclass": (3, "softmax"), "regression": (1, None)}
    width, activation = last[params["task"]]
    model = keras.Sequential([*layers, keras.layers.Dense(width, activation=activation)])
    losses = {
        "binary": "binary_crossentropy",
        "multiclass": "sparse_categorical_crossentropy",
        "regression": "mse",
    }
    model.compile(keras.optimizers.Adam(0.01), losses[params["task"]])
    return model
"""


class Fitted(NamedTuple):
    """A declared model, its rows, the fitted object and the file that it was saved to."""

    declared: DeclaredModel
    frame: pd.DataFrame
    model: Any
    file: Path

    def pack(self, root: Path, **changes: Any) -> Bundle:
        """Write the bundle below a root, as the step does."""
        spec = self.declared.spec
        packed = PackedModel(
            self.file, lambda file: load_model_file(file, spec), {"rows": len(self.frame)}
        )
        return write_bundle(
            PackedModel(**{**vars(packed), **changes}),
            spec,
            self.frame,
            work=root / "work",
            bundles_root=root / "bundles",
        )


@pytest.fixture(scope="session")
def fit_keras(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Fitted]:
    """fit_keras(task): two features, one of them whole numbers, and a label of the task."""
    made: dict[str, Fitted] = {}

    def fit(task: str) -> Fitted:
        if task not in made:
            made[task] = _fit(task, tmp_path_factory.mktemp(task))
        return made[task]

    return fit


def _fit(task: str, folder: Path) -> Fitted:
    declared = load_model(_declare(task, folder / "rain"))
    frame = _frame(task)
    model = make_trainer(declared.spec).fit(frame, declared)
    file = folder / "model.keras"
    model.save(file)
    return Fitted(declared, frame, model, file)


def _declare(task: str, folder: Path) -> Path:
    shutil.copytree(ZOO / "rain", folder)
    (folder / "pipeline.py").write_text(PIPELINE)
    spec = yaml.safe_load((folder / "model.yaml").read_text())
    spec["features"]["columns"] = {
        "humidity": {"type": "number", "nullable": False},
        "clouds": {"type": "integer", "nullable": False},
    }
    spec["train"].update(framework="keras", task=task, params={"task": task, "epochs": 3})
    if task == "multiclass":
        spec["train"]["classes"] = CLASSES
    metric = {"binary": "roc_auc", "multiclass": "accuracy", "regression": "rmse"}[task]
    limit = {"max": 1000.0} if task == "regression" else {"min": 0.1}
    spec["gates"] = {
        "thresholds": {metric: limit},
        "champion": {"metric": "rmse" if task == "regression" else "log_loss"},
    }
    if task == "regression":
        spec["monitor"] = {"quality": {"metric": "rmse"}}
    (folder / "model.yaml").write_text(yaml.safe_dump(spec, sort_keys=False))
    return folder


def _frame(task: str) -> pd.DataFrame:
    generator = np.random.default_rng(4)
    frame = pd.DataFrame(
        {
            "humidity": generator.normal(60, 15, 300),
            "clouds": generator.integers(0, 9, 300).astype("float64"),
        }
    )
    signal = (frame["humidity"] - 60) / 15 + (frame["clouds"] - 4) / 4
    if task == "binary":
        frame["label"] = signal > 0
    elif task == "regression":
        frame["label"] = 500 + 100 * signal
    else:
        frame["label"] = np.array(CLASSES)[np.digitize(signal, [-0.5, 0.5])]
    return frame
