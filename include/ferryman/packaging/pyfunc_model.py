"""What MLflow runs of a bundle: the served graph, asked with a frame.

A copy of this file lies in every bundle, and needs nothing of the project that made it. Nothing is
unpickled: MLflow executes this file and reads the graph.
"""

import json
import os
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd

# Without it, onnxruntime tells Microsoft of every process that loads it.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime


class BundleModel(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
    """A bundle's graph in onnxruntime."""

    def load_context(self, context: Any) -> None:
        """Open the graph and read which columns it takes."""
        signature = json.loads(Path(context.artifacts["signature"]).read_bytes())
        self._columns = {column["name"]: column["type"] for column in signature["features"]}
        self._classes = signature["classes"]
        self._session = onnxruntime.InferenceSession(
            context.artifacts["graph"], providers=["CPUExecutionProvider"]
        )

    def predict(
        self,
        context: Any,  # noqa: ARG002 - MLflow gives it by position
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,  # noqa: ARG002 - MLflow gives it by name
    ) -> Any:
        """One number a row, [rows]; of a multiclass model a frame with one column a class."""
        feed = {name: self._array(model_input[name], kind) for name, kind in self._columns.items()}
        (answers,) = self._session.run(None, feed)
        answers = np.asarray(answers, dtype=np.float64)
        if self._classes:
            return pd.DataFrame(answers, columns=self._classes, index=model_input.index)
        return answers

    @staticmethod
    def _array(values: Any, kind: str) -> Any:
        if kind == "category":
            text = values.astype(object).where(values.notna(), "").to_numpy(dtype=object)
            return text.reshape(-1, 1)
        return values.to_numpy(dtype="float32", na_value=float("nan")).reshape(-1, 1)


mlflow.models.set_model(BundleModel())
