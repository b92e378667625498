"""Makes the bundle of the fitted model: every format of it, checked against what was trained."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pydantic import JsonValue

from ferryman.data.versions.dataset import DatasetStore
from ferryman.data.windows.profile import profile_table
from ferryman.errors import IntegrityBroken
from ferryman.packaging.bundle_writer import PackedModel, write_bundle
from ferryman.packaging.parity import ParityReport
from ferryman.packaging.trained_answers import ANSWERS
from ferryman.profiles.column_profile import read_profile
from ferryman.profiles.comparison import named_in
from ferryman.profiles.day_profiles import profile_days
from ferryman.profiles.trained_days import with_days
from ferryman.registry.mlflow_tracking import MlflowTracker
from ferryman.runtime.bundle_signing import sign_bundle, verify_signed
from ferryman.runtime.files import file_digest
from ferryman.runtime.messages import StepResult
from ferryman.spec.model import ModelSpec
from ferryman.steps.contract import StepContext, StepParams
from ferryman.training.trainers import load_model_file

if TYPE_CHECKING:
    import pandas as pd


class Params(StepParams):
    """No parameters: the bundle's form is fixed."""


def run(context: StepContext) -> StepResult:
    """Write every format, check parity, keep the bundle under its digest, sign it where wanted."""
    settings, spec = context.settings, context.spec
    trained = context.earlier("train").outputs
    frame = DatasetStore(context.data_store).load(str(trained["train_dataset"]), spec.name)
    cores = min(settings.core_count, spec.runtime.cpu)
    packed = PackedModel(
        model_file=_trained_file(trained),
        load=lambda file: load_model_file(file, spec, cores=cores),
        reference=_reference(frame, spec),
        answers=_answers_file(trained),
    )
    bundle = write_bundle(
        packed,
        spec,
        frame,
        work=context.folder / "bundle",
        bundles_root=settings.bundles_root,
    )
    if settings.signing_key is not None:
        sign_bundle(bundle.folder, settings.signing_key)
    verify_signed(bundle.folder, digest=bundle.digest, public_key=settings.signing_public_key)
    metrics = _metrics(bundle.parity)
    tracker = MlflowTracker(settings.mlflow_uri, settings.mlflow_artifacts, actor=settings.actor)
    tracker.log(
        str(trained["mlflow_run_id"]), metrics=metrics, tags={"ferryman.digest": bundle.digest}
    )
    signed = settings.signing_key is not None
    return context.result(
        text=f"{'signed ' if signed else ''}bundle {bundle.digest[:12]}: {_text(bundle.parity)}",
        outputs={
            "bundle": str(bundle.folder),
            "digest": bundle.digest,
            "max_difference": bundle.parity.max_difference,
            "parity": dict(bundle.parity.formats),
            "signed": signed,
        },
        metrics=metrics,
        artifacts={"bundle": str(bundle.folder)},
    )


def _trained_file(trained: Mapping[str, JsonValue]) -> Path:
    """The model's file as training wrote it; IntegrityBroken (exit 7) where it has changed."""
    file = Path(str(trained["model_file"]))
    expected, found = str(trained["model_sha256"]), file_digest(file)
    if found != expected:
        raise IntegrityBroken(f"digest mismatch: {file}: expected {expected}, got {found}")
    return file


def _answers_file(trained: Mapping[str, JsonValue]) -> Path | None:
    """What the trained model answered; none where the model was taken from an equal training."""
    file = Path(str(trained["model_file"])).with_name(ANSWERS)
    return file if file.is_file() else None


def _metrics(parity: ParityReport) -> dict[str, float | None]:
    return {
        "parity_rows": parity.rows,
        "parity_max_difference": parity.max_difference,
        **{f"parity_{name}_difference": value for name, value in parity.formats.items()},
    }


def _text(parity: ParityReport) -> str:
    formats = ", ".join(f"{name} {value:.1e}" for name, value in sorted(parity.formats.items()))
    return f"apart from the trained model on {parity.rows} rows by at most: {formats}"


def _reference(frame: "pd.DataFrame", spec: ModelSpec) -> dict[str, Any]:
    """The profile of the training data, and how its days differ."""
    table, columns = _feature_table(frame, spec), spec.features.columns
    stored = profile_table(table, columns)
    times = pa.array(frame["event_time"], pa.timestamp("us", tz="UTC"))
    # A feature may have this name: what days are is the event's alone.
    others = {name: kind for name, kind in columns.items() if name != "event_time"}
    dated = table.select(list(others)).append_column("event_time", times)
    return with_days(stored, profile_days(dated, others, named_in(read_profile(stored))).values())


def _feature_table(frame: "pd.DataFrame", spec: ModelSpec) -> pa.Table:
    """The feature columns as they are in snapshots: nulls as nulls, integers as integers."""
    arrays = {}
    for name, column in spec.features.columns.items():
        if column.type == "category":
            text = frame[name].astype(object)
            arrays[name] = pa.array(text.where(text != "", None), pa.string())
        else:
            numbers = pa.array(frame[name].to_numpy(dtype="float64"), from_pandas=True)
            arrays[name] = numbers.cast(pa.int64()) if column.type == "integer" else numbers
    return pa.table(arrays)
