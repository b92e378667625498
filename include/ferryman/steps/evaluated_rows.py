"""A version's answers to the rows that evaluated it: what its served answers are compared with."""

import hashlib
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from ferryman.data.versions.dataset import DatasetStore
from ferryman.errors import DataRejected, IntegrityBroken, SpecError
from ferryman.ledger.records import Candidate
from ferryman.monitoring.quality_windows import day_numbers
from ferryman.packaging.onnx_scorer import OnnxScorer
from ferryman.runtime.bundle import SIGNATURE, Signature
from ferryman.runtime.bundle_signing import verify_signed
from ferryman.runtime.files import read_json, write_atomic
from ferryman.runtime.score_column import score_array, score_field, scores_as
from ferryman.steps.contract import StepContext
from ferryman.training.labels import encode_labels

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class EvaluatedRows:
    """The evaluation rows of a version, with its answers.

    frame: the columns of slices and groups that were declared then; days: the number of each
    event's day; labels as encode_labels gives them; scores [rows] or [rows, classes].
    """

    frame: "pd.DataFrame"
    days: npt.NDArray[np.int64]
    labels: npt.NDArray[Any]
    scores: npt.NDArray[np.float64]


def evaluated_rows(context: StepContext, candidate: Candidate) -> EvaluatedRows | None:
    """The evaluation rows of a registered version; None, and why in the log, where it has none.

    Scored once: what a bundle answers to a dataset never changes, so it is kept beside the reports,
    under a name made of both. Raises DependencyUnavailable (exit 6) where the data store is away.
    """
    file = _kept(context, candidate)
    try:
        if not file.is_file():
            write_atomic(file, _score(context, candidate))
        table = pq.ParquetFile(file).read()
        train = context.spec.train
        scores = scores_as(table, train.task, train.classes)["score"]
        frame = table.drop_columns(["score", "event_time"]).to_pandas()
        return EvaluatedRows(
            frame=frame,
            days=day_numbers(table["event_time"]),
            labels=encode_labels(frame["label"], train),
            scores=score_array(scores),
        )
    except (DataRejected, IntegrityBroken, SpecError, pa.ArrowInvalid) as error:
        logger.warning(
            "%s version %d: no figures of its evaluation: %s",
            context.model.name,
            candidate.version,
            str(error)[:300],
        )
        return None


def _kept(context: StepContext, candidate: Candidate) -> Path:
    train = context.spec.train
    named = json.dumps(
        [candidate.digest, candidate.eval_dataset, _columns(context), train.task, train.classes]
    )
    name = hashlib.sha256(named.encode()).hexdigest()[:32]
    file = Path(context.model.name) / "evaluated" / f"{candidate.version}-{name}.parquet"
    known = context.settings.monitoring_root / file
    # What a night has scored never changes: a backfill reads it, and keeps its own elsewhere.
    return known if known.is_file() else context.monitoring_root / file


def _columns(context: StepContext) -> list[str]:
    slices = [part.column for part in context.spec.evaluation.slices]
    return sorted({*slices, *(gate.column for gate in context.spec.gates.fairness)})


def _score(context: StepContext, candidate: Candidate) -> bytes:
    """The rows as a Parquet file."""
    train, bundle = context.spec.train, Path(candidate.bundle)
    frame = DatasetStore(context.data_store).load(candidate.eval_dataset, context.model.name)
    verify_signed(bundle, digest=candidate.digest, public_key=context.settings.signing_public_key)
    signature = Signature.model_validate(read_json(bundle / SIGNATURE))
    if signature.task != train.task or set(signature.classes) != set(train.classes):
        raise SpecError(f"version {candidate.version} answers another question")
    answers = OnnxScorer(bundle).score(frame)
    named = ("event_time", *_columns(context), "label")
    kept = frame[[name for name in named if name in frame.columns]]
    table = pa.Table.from_pandas(kept, preserve_index=False)
    field = score_field(train.task, signature.classes)
    sink = pa.BufferOutputStream()
    pq.write_table(table.append_column(field, pa.array(answers.tolist(), field.type)), sink)
    content: bytes = sink.getvalue().to_pybytes()
    return content
