"""Scores a window, a dataset version or a file in batch, by the code that answers online.

What is made lies in the data store under a name made from what it is made of, and never changes:
<model>/scores/scores-<beginning of its sha256>.parquet    the keys and scores, in the rows' order
<model>/scores/<id>.json                                   the manifest; written last
"""

import hashlib
import logging
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, JsonValue, ValidationError

from ferryman.data.versions.catalogue_entry import StoredFile
from ferryman.errors import DataRejected, IntegrityBroken
from ferryman.ledger.ledger import Ledger
from ferryman.runtime.files import SCRATCH, file_digest, json_bytes, space_errors
from ferryman.runtime.messages import StepResult, canonical_json
from ferryman.runtime.score_column import score_field
from ferryman.serving.models.onnx_model import OnnxModel
from ferryman.serving.models.rows import ENTITY_KEY, EVENT_TIME, MAX_ROWS, RowError
from ferryman.spec.metrics import Task
from ferryman.steps.contract import StepContext, StepParams
from ferryman.steps.scoring_rows import BatchRows, rows_of
from ferryman.steps.scoring_version import ScoringVersion, choose_version, open_version
from ferryman.training.run_keys import code_version

_GROUP = 12  # batches to a row group of the file
_KEYS = {ENTITY_KEY: pa.string(), EVENT_TIME: pa.timestamp("us", tz="UTC")}

logger = logging.getLogger(__name__)


class Params(StepParams):
    """Who scores, and what; without any the champion scores the window."""

    as_of: str | None = Field(
        default=None, description="Score with the champion of that moment, or of a day's midnight."
    )
    version: int | None = Field(default=None, ge=1, description="Score with this version.")
    dataset: str | None = Field(
        default=None, min_length=1, max_length=200, description="A dataset version or a pin."
    )
    file: str | None = Field(
        default=None,
        min_length=1,
        max_length=500,
        description="A Parquet file: PATH below the folder of the file sources, or CONNECTION:KEY.",
    )


class Manifest(BaseModel):
    """What a file of scores is: who made them, of what, and its bytes.

    epoch, why, as_of and barred are those of steps.scoring_version; source names each snapshot,
    dataset version or file that was read; code is the commit that scored.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    version: int
    digest: str
    epoch: int
    why: str
    as_of: str
    barred: str
    source: list[dict[str, JsonValue]]
    task: Task
    classes: list[str]
    rows: int
    file: StoredFile
    code: str
    scored_at: AwareDatetime


def run(context: StepContext) -> StepResult:
    """Score every row, or find that it was done; nothing is kept of a run that does not end.

    No answer is logged: nobody was answered. Raises DataRejected (exit 3), which names the row and
    the column, for a row that a server would refuse; what choosing the version and the rows raises.
    """
    params, model = cast(Params, context.params), context.model.name
    ledger = Ledger(context.settings.ledger_url)
    chosen = choose_version(ledger, model, as_of=params.as_of, version=params.version)
    rows = rows_of(context, params.dataset, params.file)
    named: dict[str, Any] = {"model": model, **asdict(chosen), "source": rows.told}
    key = f"{model}/scores/{hashlib.sha256(canonical_json(named)).hexdigest()}.json"
    known = _known(context, key)
    manifest = known or _make(context, chosen, rows, named, key)
    uri = context.data_store.uri(manifest.file.key)
    who = f"version {chosen.version}, {chosen.why}"
    done = "were scored already" if known else "scored"
    return context.result(
        text=f"{manifest.rows} rows {done} with {who}",
        outputs={
            "scores": uri,
            "manifest": context.data_store.uri(key),
            "version": chosen.version,
            "epoch": chosen.epoch,
            "digest": chosen.digest,
            "as_of": chosen.as_of,
            "rows": manifest.rows,
        },
        metrics={"rows": float(manifest.rows)},
        artifacts={"scores": uri, "manifest": context.data_store.uri(key)},
    )


def _known(context: StepContext, key: str) -> Manifest | None:
    """The manifest of the same work, done before; IntegrityBroken (exit 7) where it is damaged."""
    content = context.data_store.read(key)
    if content is None:
        return None
    uri = context.data_store.uri(key)
    remedy = f"Remove {uri} and what it names, and score again."
    try:
        manifest = Manifest.model_validate_json(content)
    except ValidationError as error:
        raise IntegrityBroken(f"{uri}: no manifest: {str(error)[:300]}", remedy=remedy) from error
    if context.data_store.size(manifest.file.key) != manifest.file.size:
        raise IntegrityBroken(
            f"{context.data_store.uri(manifest.file.key)} is not what was written", remedy=remedy
        )
    return manifest


def _make(
    context: StepContext, chosen: ScoringVersion, rows: BatchRows, named: dict[str, Any], key: str
) -> Manifest:
    """Score beside, then keep the file, and last of all its manifest."""
    model = open_version(context.settings, context.model.name, chosen)
    with tempfile.TemporaryDirectory(dir=context.folder, prefix=SCRATCH) as folder:
        file = Path(folder) / "scores.parquet"
        with space_errors(file):
            count = _write(file, model, rows)
        digest = file_digest(file)
        stored = StoredFile(
            key=f"{context.model.name}/scores/scores-{digest[:16]}.parquet",
            sha256=digest,
            size=file.stat().st_size,
        )
        context.data_store.create(stored.key, file)
        signature = model.signature
        manifest = Manifest(
            **named,
            task=signature.task,
            classes=signature.classes,
            rows=count,
            file=stored,
            code=code_version(context.settings),
            scored_at=datetime.now(UTC),
        )
        context.data_store.create(key, json_bytes(manifest.model_dump(mode="json")))
        # Of the same scores, made long ago, maintenance may have removed the file just now.
        if context.data_store.size(stored.key) is None:
            context.data_store.create(stored.key, file)
    # Another run may have been quicker: its manifest stands.
    return _known(context, key) or manifest


def _write(file: Path, model: OnnxModel, rows: BatchRows) -> int:
    """Write keys and scores, a row group of some batches at a time; returns how many rows."""
    columns = [column.name for column in model.signature.features]
    scored = _scored(model, rows.batches(columns, MAX_ROWS))
    first = next(scored, None)
    field = score_field(model.signature.task, model.signature.classes)
    schema = first.schema if first is not None else _schema(list(_KEYS), field)
    count = 0
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        group = [] if first is None else [first, *islice(scored, _GROUP - 1)]
        while group:
            table = pa.concat_tables(group)
            writer.write_table(table)
            count += table.num_rows
            group = list(islice(scored, _GROUP))
    return count


def _scored(model: OnnxModel, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.Table]:
    """Keys and scores of each batch."""
    field = score_field(model.signature.task, model.signature.classes)
    done = 0
    for batch in batches:
        if not batch.num_rows:
            continue
        columns = {column.name: _as_sent(batch[column.name]) for column in model.signature.features}
        try:
            scores = model.score(model.schema.read_columns(columns))
        except RowError as error:
            place = f"row {done + (error.row or 0)}, column {error.field!r}"
            raise DataRejected(
                f"{place}: {error.text}", remedy="A server refuses such a row, too: correct it."
            ) from error
        keys = [name for name in _KEYS if name in batch.schema.names]
        arrays = [_cast(batch[name], name) for name in keys]
        yield pa.table([*arrays, pa.array(scores, field.type)], schema=_schema(keys, field))
        done += batch.num_rows


def _as_sent(column: Any) -> list[Any]:
    """A column as JSON has it, which knows no NaN: null stands for what is not finite."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_floating(column.type):
        column = pc.if_else(pc.is_finite(column), column, pa.scalar(None, column.type))
    values: list[Any] = column.to_pylist()
    return values


def _cast(column: Any, name: str) -> Any:
    try:
        return column.cast(_KEYS[name])
    except pa.ArrowInvalid as error:
        raise DataRejected(f"column {name!r}: {str(error)[:200]}") from error


def _schema(keys: list[str], field: Any) -> Any:
    return pa.schema([*(pa.field(name, _KEYS[name]) for name in keys), field])
