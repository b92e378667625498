"""Scores rows with a bundle's ONNX graph: what a gate and the parity check see of a model."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ferryman.errors import DataRejected, IntegrityBroken
from ferryman.runtime.bundle import ONNX, SIGNATURE, FeatureColumn, Signature
from ferryman.runtime.files import read_json
from ferryman.runtime.onnx_library import load_onnxruntime

if TYPE_CHECKING:
    import pandas as pd

Scores = npt.NDArray[np.float64]


class OnnxScorer:
    """A bundle's graph in onnxruntime, one thread; the caller verifies the bundle's digest."""

    def __init__(self, bundle_dir: Path) -> None:
        try:
            signature = Signature.model_validate(read_json(bundle_dir / SIGNATURE))
            graph = (bundle_dir / ONNX).read_bytes()
        except (OSError, ValueError) as error:
            raise IntegrityBroken(f"bundle {bundle_dir}: not readable: {error}") from error
        self._columns = signature.features
        self._session = open_session(graph, str(bundle_dir))

    def score(self, columns: "pd.DataFrame | Mapping[str, Any]") -> Scores:
        """The graph's answers: [rows], or [rows, classes]; see training.trainer.Predictions.

        `columns` is a frame or a mapping of column name to values; those that are no features are
        ignored. Numbers have null as NaN or None, categories as "", None or NaN. DataRejected
        (exit 3) names a column that is missing or has values of another type.
        """
        return run_graph(self._session, feed(columns, self._columns))


def open_session(graph: bytes, name: str) -> Any:
    """An onnxruntime session on one thread; IntegrityBroken (exit 7) where it is not a graph."""
    onnxruntime = load_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise IntegrityBroken(f"{name}: onnxruntime cannot load the graph: {error}") from error


def run_graph(session: Any, inputs: dict[str, npt.NDArray[Any]]) -> Scores:
    """The graph's answers as float64: [rows], or [rows, classes] of a multiclass task."""
    (answer,) = session.run([session.get_outputs()[-1].name], inputs)
    return np.asarray(answer, dtype=np.float64)


def feed(
    columns: "pd.DataFrame | Mapping[str, Any]", features: list[FeatureColumn]
) -> dict[str, npt.NDArray[Any]]:
    """One array [rows, 1] a feature: float32 with NaN, or text with "" for null."""
    missing = [feature.name for feature in features if feature.name not in columns]
    if missing:
        raise DataRejected(f"feature columns are missing: {', '.join(missing[:10])}")
    return {feature.name: _array(columns[feature.name], feature) for feature in features}


def _array(values: Any, feature: FeatureColumn) -> npt.NDArray[Any]:
    import pandas as pd

    series = values if isinstance(values, pd.Series) else pd.Series(list(values), dtype=object)
    try:
        if feature.type == "category":
            text = series.astype(object).where(series.notna(), "").to_numpy(dtype=object)
            strange = next((value for value in text if not isinstance(value, str)), None)
            if strange is not None:
                raise TypeError(f"{strange!r} is not text")
            return text.reshape(-1, 1)
        return series.to_numpy(dtype="float32", na_value=float("nan")).reshape(-1, 1)
    except (TypeError, ValueError) as error:
        raise DataRejected(f"feature {feature.name!r} is {feature.type}: {error}") from error
