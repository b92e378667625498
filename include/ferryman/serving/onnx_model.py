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

# A number a row; of a multiclass model a list a row, one probability a class in their order.
Scores = list[float] | list[list[float]]


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
        self.classes = len(self.signature.classes) if self.signature.task == "multiclass" else 0
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

    def score(self, rows: Rows) -> Scores:
        """The answer for each row; RowError where the model gives no finite number.

        By task: the label's probability; a probability a class; the value.
        """
        feed = self.schema.feed(rows)
        try:
            answers: Any = self._session.run(self._outputs, feed)[0]
        except Exception as error:  # onnxruntime's errors share no narrower base
            raise RowError(f"the model cannot score these rows: {type(error).__name__}") from error
        if self.classes:
            return self._class_scores(answers, rows.size)
        if answers.ndim == 2:
            answers = answers[:, -1]
        scores: list[float] = answers.tolist()
        for index, score in enumerate(scores):
            if not math.isfinite(score):
                raise RowError("the model gives no finite score for this row", row=index)
        return scores

    def _class_scores(self, answers: Any, rows: int) -> list[list[float]]:
        if answers.shape != (rows, self.classes):
            raise RowError(f"the model answers {answers.shape}, not {self.classes} classes a row")
        finite = np.isfinite(answers)
        if not finite.all():
            index = int(np.flatnonzero(~finite.all(axis=1))[0])
            raise RowError("the model gives no finite score for this row", row=index)
        scores: list[list[float]] = answers.tolist()
        return scores


def open_verified(folder: Path, identity: Identity) -> OnnxModel:
    """Load a verified bundle and replay its golden rows before anybody may be served by it.

    Raises IntegrityBroken (exit 7) when an answer differs from what the trained model gave.
    """
    model = OnnxModel(folder, identity)
    golden = Golden.model_validate(read_json(folder / GOLDEN))
    if not golden.rows or len(golden.rows) != len(golden.outputs):
        raise IntegrityBroken(f"bundle {folder}: {GOLDEN} holds no rows to check the model with")
    widths = {np.size(output) for output in golden.outputs}
    if widths != {max(model.classes, 1)}:
        raise IntegrityBroken(
            f"bundle {folder}: {GOLDEN} holds answers of {sorted(widths)} numbers, the model is "
            f"{model.signature.task} with {model.classes} classes"
        )
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
