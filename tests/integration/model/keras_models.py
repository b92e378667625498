"""Small Keras models for tests: folders with a declaration, and frames to fit them on."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ferryman.spec.loader import load_model
from ferryman.spec.model import DeclaredModel

_DECLARATION = """\
spec_version: 1
name: hills
description: How high is the ground at a place?
owner: {{team: tests, contact: tests@example.org}}
data:
  sources:
    places:
      kind: files
      path: hills.csv
      event_time: at
      columns: {{at: {{type: timestamp}}, east: {{type: number}}, north: {{type: number}}}}
  label: {{name: height, sql: labels.sql, known_after: 1d}}
features:
  sql: features.sql
  entity: [east]
  columns: {{east: {{type: number}}, north: {{type: number}}}}
train:
  framework: keras
  task: {task}
  {classes}
  pipeline: pipeline.py:build
  params: {{epochs: 12, batch_size: 30}}
  workers: {workers}
  window: 7d
  holdout: 1d
gates:
  thresholds: {{{metric}: {{min: 0.1}}}}
  champion: {{metric: {metric}}}
monitor: {{quality: {{metric: {metric}}}}}
schedule: {{ingest: null, monitoring: null}}
"""
_PIPELINE = """\
import keras
from keras import layers

def build(params, seed):
    model = keras.Sequential([
        keras.Input(({inputs},)),
        layers.Dense(16, activation="tanh"),
        {extra}
        layers.Dense({outputs}, activation={activation!r}),
    ])
    model.compile(optimizer=keras.optimizers.Adam(0.02), loss={loss!r}, metrics=[{metric!r}])
    return model
"""
_ENDS: dict[str, dict[str, Any]] = {
    "binary": {"outputs": 1, "activation": "sigmoid", "loss": "binary_crossentropy"},
    "multiclass": {
        "outputs": 3,
        "activation": "softmax",
        "loss": "sparse_categorical_crossentropy",
    },
    "regression": {"outputs": 1, "activation": None, "loss": "mse"},
}
CLASSES = ["low", "middle", "high"]


def hills(folder: Path, task: str, *, workers: int = 1, **changed: Any) -> DeclaredModel:
    """The model `hills` of a task, with parts of its pipeline.py replaced."""
    parts = {"inputs": 2, "extra": "", **_ENDS[task], **changed}
    parts.setdefault("metric", "mae" if task == "regression" else "accuracy")
    target = folder / "hills"
    target.mkdir(parents=True, exist_ok=True)
    (target / "model.yaml").write_text(
        _DECLARATION.format(
            task=task,
            workers=workers,
            classes=f"classes: {CLASSES}" if task == "multiclass" else "",
            metric="r2" if task == "regression" else "accuracy",
        )
    )
    (target / "pipeline.py").write_text(_PIPELINE.format(**parts))
    for name in ("features.sql", "labels.sql"):
        (target / name).write_text("SELECT 1\n")
    return load_model(target)


def places(task: str, rows: int = 601, seed: int = 0) -> pd.DataFrame:
    """Rows of the two features, and the label of a task, which they decide."""
    generator = np.random.default_rng(seed)
    frame = pd.DataFrame(generator.normal(size=(rows, 2)), columns=["east", "north"])
    height = frame["east"] - 2 * frame["north"]
    frame["label"] = {
        "binary": height > 0,
        "multiclass": np.select([height < -1, height < 1], CLASSES[:2], CLASSES[2]),
        "regression": height,
    }[task]
    return frame
