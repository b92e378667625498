"""What the trained model answered before it was ever written: the truth that files must meet."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ferryman.errors import IntegrityBroken
from ferryman.packaging.parity import Predict, Scores, answer_all
from ferryman.packaging.probes import probe_rows
from ferryman.runtime.files import read_json, write_json
from ferryman.spec.model import ModelSpec

if TYPE_CHECKING:
    import pandas as pd

ANSWERS = "answers.json"
_ROWS = 500


def parity_rows(frame: "pd.DataFrame", spec: ModelSpec) -> "pd.DataFrame":
    """The rows that all formats of a model are compared on: the same for the same dataset."""
    return probe_rows(frame, spec.features.columns, count=_ROWS, seed=spec.train.seed)


def record_answers(predict: Predict, frame: "pd.DataFrame", spec: ModelSpec, file: Path) -> None:
    """Keep the answers of a model that was just fitted, beside its file.

    Raises SpecError (exit 2) where it cannot answer nulls or values that it never saw.
    """
    answers = answer_all(predict, parity_rows(frame, spec))
    write_json(file, {"answers": answers.tolist()})


def recorded_answers(file: Path, rows: int) -> Scores:
    """What `record_answers` kept; IntegrityBroken (exit 7) where it is damaged or of other rows."""
    try:
        kept: Any = read_json(file)["answers"]
        answers = np.asarray(kept, dtype=np.float64)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise IntegrityBroken(f"{file}: the trained model's answers are not readable") from error
    if len(answers) != rows:
        raise IntegrityBroken(f"{file}: {len(answers)} answers for {rows} rows")
    return answers
