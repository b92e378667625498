"""Writes a fitted model as an ONNX graph, whatever framework it is of.

One named input [rows, 1] a feature column (float32, or text). One output: `probability`, [rows] of
a binary and [rows, classes] of a multiclass task, or `value` [rows] of a regression.
"""

import copy
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ferryman.errors import SpecError
from ferryman.packaging.onnx_graph import output_name, set_output, write_graph
from ferryman.spec.data import FeatureSpec
from ferryman.spec.metrics import Task

logger = logging.getLogger(__name__)


def export_onnx(
    estimator: Any,
    columns: Mapping[str, FeatureSpec],
    path: Path,
    *,
    name: str,
    task: Task = "binary",
) -> None:
    """Write the graph of a scikit-learn pipeline, atomically; equal models give equal bytes.

    Raises SpecError (exit 2) where a part of the pipeline has no ONNX form. Whether the graph
    answers as the pipeline does is for the parity check to say.
    """
    from skl2onnx import convert_sklearn
    from skl2onnx.common.data_types import FloatTensorType, StringTensorType
    from skl2onnx.common.exceptions import MissingConverter, MissingShapeCalculator

    inputs = [
        (column, (StringTensorType if spec.type == "category" else FloatTensorType)([None, 1]))
        for column, spec in columns.items()
    ]
    exact = _with_float32_thresholds(estimator)
    options = {} if task == "regression" else {id(exact): {"zipmap": False}}
    try:
        graph = convert_sklearn(exact, name=name, initial_types=inputs, options=options)
    except (MissingConverter, MissingShapeCalculator, NotImplementedError) as error:
        text = str(error).strip().split("\n")[0][:500]
        raise SpecError(
            f"the pipeline has no ONNX form: {text}",
            remedy="Use estimators that skl2onnx converts.",
        ) from error
    answer, width = graph.graph.output[-1].name, 1
    if task != "regression":  # the label comes first, then a probability a class
        width = len(estimator.classes_)
    set_output(graph, answer, task, width, output_name(task, columns))
    write_graph(graph, path)


def _with_float32_thresholds(estimator: Any) -> Any:
    """A copy whose boosted trees split at float32 values, with the same answers for float32 rows.

    The graph holds thresholds as float32, rounded to the nearest; a threshold that is rounded up to
    a row's own value would send that row to the other side. For float32 values, `x <= t` and
    `x <= (the greatest float32 that is at most t)` are the same, so rounding down is exact.
    """
    exact = copy.deepcopy(estimator)
    for trees in _boosted(exact):
        for predictors in trees._predictors:
            for tree in predictors:
                threshold = tree.nodes["num_threshold"]
                tree.nodes["num_threshold"] = floor_float32(threshold)
    return exact


def floor_float32(values: Any) -> Any:
    """The greatest float32 at or below each float64, as float64."""
    exact = np.asarray(values, dtype=np.float64)
    with np.errstate(over="ignore"):
        nearest = exact.astype(np.float32)
        below = np.nextafter(nearest, np.float32(-np.inf))
    return np.where(nearest.astype(np.float64) > exact, below, nearest).astype(np.float64)


def _boosted(estimator: Any) -> Iterator[Any]:
    """Every histogram gradient boosting model inside a pipeline."""
    if hasattr(estimator, "_predictors"):
        yield estimator
    for attribute in ("steps", "transformers_", "estimators_", "calibrated_classifiers_"):
        for part in getattr(estimator, attribute, ()):
            for candidate in part if isinstance(part, tuple) else (part,):
                yield from _boosted(getattr(candidate, "estimator", candidate))
