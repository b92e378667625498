"""The files that a fitted model is written in, and how each is asked for answers."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ferryman.packaging.onnx_scorer import feed, open_session, run_graph
from ferryman.packaging.parity import Predict, Scores
from ferryman.runtime.bundle import ONNX, SAVED_MODEL, FeatureColumn
from ferryman.spec.data import FeatureSpec
from ferryman.spec.model import ModelSpec

if TYPE_CHECKING:
    import pandas as pd


class LoadedModel(Protocol):
    """A fitted model that was read from its file."""

    @property
    def estimator(self) -> Any:
        """The framework's own object."""
        ...

    def predict(self, frame: "pd.DataFrame") -> Scores:
        """The answers for rows of feature columns."""
        ...


def write_formats(model: LoadedModel, spec: ModelSpec, folder: Path) -> dict[str, Predict]:
    """Write what a framework can be written in, and say how to ask each file, by format.

    Raises SpecError (exit 2) where the model cannot be exported, IntegrityBroken (exit 7) where
    what was written cannot be read.
    """
    columns, task = spec.features.columns, spec.train.task
    graph = folder / ONNX
    if spec.train.framework == "sklearn":
        from ferryman.packaging.export import export_onnx

        export_onnx(model.estimator, columns, graph, name=spec.name, task=task)
        return {"onnx": open_graph(graph, columns)}
    from ferryman.packaging.keras_export import export_keras_onnx, export_saved_model

    export_keras_onnx(model.estimator, columns, graph, name=spec.name, task=task)
    saved = folder / SAVED_MODEL / spec.name / "1"
    export_saved_model(model.estimator, columns, saved, task=task)
    return {"onnx": open_graph(graph, columns), "saved_model": open_saved_model(saved, columns)}


def open_graph(file: Path, columns: Mapping[str, FeatureSpec]) -> Predict:
    """Answers from an ONNX file; IntegrityBroken (exit 7) where it is none."""
    session = open_session(file.read_bytes(), str(file))
    features = feature_columns(columns)
    return lambda rows: run_graph(session, feed(rows, features))


def open_saved_model(folder: Path, columns: Mapping[str, FeatureSpec]) -> Predict:
    """Answers from a SavedModel's signature; IntegrityBroken (exit 7) where it is none."""
    from ferryman.packaging.keras_export import load_signature

    serve = load_signature(folder)
    features = feature_columns(columns)

    def predict(rows: "pd.DataFrame") -> Scores:
        arrays = feed(rows, features)
        return np.asarray(serve({name: array.reshape(-1) for name, array in arrays.items()}))

    return predict


def feature_columns(columns: Mapping[str, FeatureSpec]) -> list[FeatureColumn]:
    """Declared columns in the bundle's words."""
    return [
        FeatureColumn(name=name, type=column.type, nullable=column.nullable)
        for name, column in columns.items()
    ]
