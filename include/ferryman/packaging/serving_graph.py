"""Writes serving.onnx: the served graph with one input a block of columns, as light as it gets."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ferryman.packaging.block_graph import Blocks, block_graph, blocks_of
from ferryman.packaging.formats import feature_columns
from ferryman.packaging.onnx_graph import write_graph
from ferryman.packaging.onnx_scorer import feed, open_session, run_graph
from ferryman.packaging.parity import Predict, Scores, Trained, compare
from ferryman.runtime.bundle import ONNX, SERVING_ONNX, Block
from ferryman.spec.data import FeatureSpec

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger(__name__)

_CELLS: Mapping[Block, Any] = {
    "float32": np.float32,
    "float64": np.float64,
    "int64": np.int64,
    "text": object,
}


def write_serving_graph(folder: Path, trained: Trained) -> tuple[Blocks, dict[str, Predict]]:
    """Write the graph beside the folder's model.onnx; its blocks, and how to ask it, by format.

    It is simplified where the simple form answers as the trained model does, and split into the old
    inputs otherwise. Nothing is written where a column is of a type that no block has, or where
    neither form answers rightly: model.onnx serves then. Equal models give equal bytes.
    """
    import onnx

    model = onnx.load(folder / ONNX)
    blocks = blocks_of(model, list(trained.columns))
    target = folder / SERVING_ONNX
    for simplify in (True, False) if blocks else ():
        serving = _written(model, blocks, target, trained, simplify=simplify)
        if serving is not None:
            return blocks, {"serving": serving}
    return {}, {}


def open_serving_graph(
    file: Path, columns: Mapping[str, FeatureSpec], blocks: Mapping[Block, list[str]]
) -> Predict:
    """Answers from a graph of blocks; IntegrityBroken (exit 7) where it is none."""
    session = open_session(file.read_bytes(), str(file))
    features = feature_columns(columns)

    def predict(rows: "pd.DataFrame") -> Scores:
        return run_graph(session, join_blocks(feed(rows, features), blocks))

    return predict


def join_blocks(
    columns: Mapping[str, npt.NDArray[Any]], blocks: Mapping[Block, list[str]]
) -> dict[str, npt.NDArray[Any]]:
    """Arrays [rows, 1] by column as arrays [rows, columns] by block."""
    return {
        block: np.concatenate([columns[name] for name in names], axis=1).astype(_CELLS[block])
        for block, names in blocks.items()
    }


def _written(
    model: Any, blocks: Blocks, target: Path, trained: Trained, *, simplify: bool
) -> Predict | None:
    """How to ask one form of the graph; None where it cannot be made, or answers otherwise."""
    try:
        write_graph(block_graph(model, blocks, simplify=simplify), target)
        serving = open_serving_graph(target, trained.columns, blocks)
        compare(trained, {"serving": serving})
    # Whatever a graph holds that nobody has foreseen here: a plainer form is at hand.
    except Exception as error:
        form = "simplified" if simplify else "of blocks"
        logger.warning("serving.onnx is not %s: %s", form, error, exc_info=True)
        target.unlink(missing_ok=True)
        return None
    return serving
