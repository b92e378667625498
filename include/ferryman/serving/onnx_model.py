"""One loaded model: its ONNX session, its row schema, and the identity it answers with."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from ferryman.errors import IntegrityBroken
from ferryman.runtime.bundle import GOLDEN, ONNX, SIGNATURE, Golden, Signature
from ferryman.runtime.files import read_json
from ferryman.serving.rows import RowError, Rows, RowSchema


@dataclass(frozen=True)
class Identity:
    """Which released version a model is."""

    name: str
    version: int
    epoch: int
    digest: str


class OnnxModel:
    """A model that can score. Safe to call from several threads at once."""

    def __init__(self, folder: Path, identity: Identity) -> None:
        self.identity = identity
        self.signature = Signature.model_validate(read_json(folder / SIGNATURE))
        options = onnxruntime.SessionOptions()
        # One row is too little work to share among threads; requests are the parallelism.
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(
                str(folder / ONNX), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime's errors share no narrower base
            raise IntegrityBroken(f"bundle {folder}: ONNX cannot be loaded: {error}") from error
        inputs = {entry.name: entry.type for entry in self._session.get_inputs()}
        self.schema = RowSchema(self.signature, inputs)
        # The exporter leaves one output; a plain skl2onnx graph has the label before it.
        self._outputs = [self._session.get_outputs()[-1].name]
        self.headers = [
            (b"x-model-version", str(identity.version).encode()),
            (b"x-model-epoch", str(identity.epoch).encode()),
        ]

    def score(self, rows: Rows) -> list[float]:
        """The probability of the label for each row; RowError where the model gives no number."""
        feed = self.schema.feed(rows)
        try:
            probabilities: Any = self._session.run(self._outputs, feed)[0]
        except Exception as error:  # onnxruntime's errors share no narrower base
            raise RowError(f"the model cannot score these rows: {type(error).__name__}") from error
        if probabilities.ndim == 2:
            probabilities = probabilities[:, -1]
        scores: list[float] = probabilities.tolist()
        for index, score in enumerate(scores):
            if not math.isfinite(score):
                raise RowError("the model gives no finite score for this row", row=index)
        return scores


def open_verified(folder: Path, identity: Identity) -> OnnxModel:
    """Load a verified bundle and replay its golden rows before anybody may be served by it.

    Raises IntegrityBroken (exit 7) when an answer differs from what the trained model gave.
    """
    model = OnnxModel(folder, identity)
    golden = Golden.model_validate(read_json(folder / GOLDEN))
    if not golden.rows or len(golden.rows) != len(golden.outputs):
        raise IntegrityBroken(f"bundle {folder}: {GOLDEN} holds no rows to check the model with")
    try:
        scores = model.score(model.schema.read_rows([dict(row) for row in golden.rows]))
    except RowError as error:
        raise IntegrityBroken(
            f"bundle {folder}: golden row {error.row} is refused: {error.text} ({error.field})"
        ) from error
    pairs: Any = zip(scores, golden.outputs, strict=True)
    for index, (got, expected) in enumerate(pairs):
        if not np.allclose(got, expected, rtol=0, atol=golden.tolerance):
            raise IntegrityBroken(
                f"bundle {folder}: golden row {index} scores {got!r}, the trained model gave "
                f"{expected!r}",
                remedy="Do not serve this version: train and package again.",
            )
    return model
