"""One loaded model: its ONNX session, its row schema, and the identity it answers with."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ferryman.errors import IntegrityBroken
from ferryman.runtime.bundle import GOLDEN, ONNX, SERVING_ONNX, SIGNATURE, Golden, Signature
from ferryman.runtime.files import read_json
from ferryman.runtime.onnx_library import load_onnxruntime
from ferryman.serving.models.labels import CHAMPION
from ferryman.serving.models.pace import Pace, measure_pace
from ferryman.serving.models.rows import NoScore, RowError, Rows, RowSchema

# A number a row; of a multiclass model a list a row, one probability a class in their order.
Scores = list[float] | list[list[float]]


@dataclass(frozen=True)
class Identity:
    """Which released version a model is; a candidate has the epoch that it stands beside."""

    name: str
    version: int
    epoch: int
    digest: str


class OnnxModel:
    """A model that can score. Safe to call from several threads at once.

    `threads` is how many cores one run may use. `gathers` says whether to score several requests
    that are there at the same time in one run: see `Pace`.
    """

    def __init__(self, folder: Path, identity: Identity, *, threads: int = 1) -> None:
        self.identity = identity
        self.signature = Signature.model_validate(read_json(folder / SIGNATURE))
        self.classes = len(self.signature.classes) if self.signature.task == "multiclass" else 0
        blocks = bool(self.signature.blocks) and (folder / SERVING_ONNX).is_file()
        self._session = _open_session(folder, SERVING_ONNX if blocks else ONNX, threads)
        inputs = {entry.name: entry.type for entry in self._session.get_inputs()}
        self.schema = RowSchema(self.signature, inputs)
        # The exporter leaves one output; a plain skl2onnx graph has the label before it.
        self._outputs = [self._session.get_outputs()[-1].name]
        self.pace = Pace()
        self._heads: dict[tuple[str, float], tuple[list[tuple[bytes, bytes]], bytes]] = {}

    def headers(
        self, variant: str = CHAMPION, propensity: float = 1.0
    ) -> tuple[list[tuple[bytes, bytes]], bytes]:
        """What an answer's head says of who gave it: as pairs, and as lines of HTTP/1.1.

        `propensity` is told where something was drawn.
        """
        head = self._heads.get((variant, propensity))
        if head is None:
            pairs = [
                (b"x-model-version", str(self.identity.version).encode()),
                (b"x-model-epoch", str(self.identity.epoch).encode()),
                (b"x-model-variant", variant.encode()),
            ]
            if propensity < 1.0:
                pairs.append((b"x-model-propensity", b"%.6g" % propensity))
            lines = b"".join([b"%b: %b\r\n" % pair for pair in pairs])
            head = self._heads[variant, propensity] = (pairs, lines)
        return head

    def score(self, rows: Rows) -> Scores:
        """The answer for each row; NoScore where the model gives no finite number.

        By task: the label's probability; a probability a class; the value.
        """
        return self.run(self.schema.feed(rows), rows.size)

    def run(self, feed: Mapping[str, Any], size: int) -> Scores:
        """The answers to `size` rows that `schema.feed` made ready; see `score`."""
        try:
            answers: Any = self._session.run(self._outputs, feed)[0]
        except Exception as error:  # onnxruntime's errors share no narrower base
            raise NoScore(f"the model cannot score these rows: {type(error).__name__}") from error
        if not self.classes and answers.ndim == 2:
            answers = answers[:, -1]
        wanted = (size, self.classes) if self.classes else (size,)
        if answers.shape != wanted:
            raise NoScore(f"the model answers {answers.shape}, not {self.classes} classes a row")
        # One product in place of isfinite(): it is NaN where any answer is NaN or infinite.
        flat = answers.ravel()
        if not math.isfinite(np.vdot(flat, flat)):
            self._refuse_endless(answers.reshape(size, -1))
        scores: Scores = answers.tolist()
        return scores

    def measure(self, rows: Rows) -> None:
        """Learn how long a run takes, so that `pace` can say what pays."""
        self.pace = measure_pace(
            lambda feed: self._session.run(self._outputs, feed), self.schema, rows
        )

    def _refuse_endless(self, answers: Any) -> None:
        finite = np.isfinite(answers).all(axis=1)
        if not finite.all():  # else many large answers, each of them finite
            index = int(np.flatnonzero(~finite)[0])
            raise NoScore("the model gives no finite score for this row", row=index)


def _open_session(folder: Path, graph: str, threads: int) -> Any:
    onnxruntime = load_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Threads that spin while they wait take the cores from those that answer.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(
            str(folder / graph), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # onnxruntime's errors share no narrower base
        raise IntegrityBroken(f"bundle {folder}: ONNX cannot be loaded: {error}") from error


def open_verified(folder: Path, identity: Identity, *, threads: int = 1) -> OnnxModel:
    """Load a verified bundle and replay its golden rows before anybody may be served by it.

    The first runs, which are slow, happen here.

    Raises IntegrityBroken (exit 7) when an answer differs from what the trained model gave.
    """
    model = OnnxModel(folder, identity, threads=threads)
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
        rows = model.schema.read_rows([dict(row) for row in golden.rows])
        scores = model.score(rows)
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
    model.measure(rows)
    return model
