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
    inputs otherwise. Nothing is written where a column is of a type that no block has. Equal models
    give equal bytes. Raises IntegrityBroken (exit 7) where the graph cannot be read.
    """
    import onnx

    model = onnx.load(folder / ONNX)
    blocks = blocks_of(model, list(trained.columns))
    if not blocks:
        return {}, {}
    target = folder / SERVING_ONNX
    if not _write_simplified(model, blocks, target, trained):
        write_graph(block_graph(model, blocks, simplify=False), target)
    return blocks, {"serving": open_serving_graph(target, trained.columns, blocks)}


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


def _write_simplified(model: Any, blocks: Blocks, target: Path, trained: Trained) -> bool:
    """Whether the simplified graph could be made, and answers as the trained model does."""
    try:
        write_graph(block_graph(model, blocks, simplify=True), target)
        compare(trained, {"serving": open_serving_graph(target, trained.columns, blocks)})
    # Whatever a graph holds that the simplification has not foreseen: the plain form is at hand.
    except Exception as error:
        logger.warning("serving.onnx is not simplified: %s", error, exc_info=True)
        return False
    return True
