"""Turns a frame into exactly what a model is given, in training as in serving."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ferryman.errors import DataRejected
from ferryman.spec.data import FeatureSpec

if TYPE_CHECKING:
    import pandas as pd


def model_input(frame: "pd.DataFrame", columns: Mapping[str, FeatureSpec]) -> "pd.DataFrame":
    """The declared feature columns in order: float32 with NaN, or text with "" for null.

    Numbers are float32 because the served ONNX graph takes float32: a model that was fitted on
    float64 would set thresholds between values that serving cannot tell apart. Integers are exact
    up to 2**24. Raises DataRejected (exit 3) that names a column that is missing or cannot be read.
    """
    import pandas as pd

    missing = [name for name in columns if name not in frame.columns]
    if missing:
        raise DataRejected(f"feature columns are missing: {', '.join(missing[:10])}")
    return pd.DataFrame(
        {name: _convert(frame[name], name, column) for name, column in columns.items()},
        index=frame.index,
        copy=False,
    )


def _convert(values: "pd.Series[float]", name: str, column: FeatureSpec) -> object:
    if column.type == "category":
        # object, not pandas' str: scikit-learn converts str columns on every call.
        return values.astype(object).where(values.notna(), "").to_numpy(dtype=object)
    try:
        return values.to_numpy(dtype="float32", na_value=float("nan"))
    except (TypeError, ValueError) as error:
        raise DataRejected(f"feature {name!r} is declared {column.type}: {error}") from error
