"""Makes the bundle of the fitted model: ONNX, checked against the pipeline, and its company."""

from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from ferryman.data.versions.dataset import DatasetStore
from ferryman.data.windows.profile import profile_table
from ferryman.packaging.bundle_writer import PackedModel, write_bundle
from ferryman.registry.mlflow_tracking import MlflowTracker
from ferryman.runtime.messages import StepResult
from ferryman.spec.model import ModelSpec
from ferryman.steps.contract import StepContext, StepParams
from ferryman.training.trainers import load_model_file

if TYPE_CHECKING:
    import pandas as pd


class Params(StepParams):
    """No parameters: the bundle's form is fixed."""


def run(context: StepContext) -> StepResult:
    """Export, check parity, and keep the bundle under its digest."""
    settings, spec = context.settings, context.spec
    trained = context.earlier("train").outputs
    frame = DatasetStore(context.data_store).load(str(trained["train_dataset"]), spec.name)
    model_file = Path(str(trained["model_file"]))
    fitted = load_model_file(model_file, spec, cores=settings.core_count)
    packed = PackedModel(
        estimator=fitted.estimator,
        predict=fitted.predict,
        model_file=model_file,
        reference=profile_table(_feature_table(frame, spec), spec.features.columns),
    )
    bundle = write_bundle(
        packed,
        spec,
        frame,
        work=context.folder / "bundle",
        bundles_root=settings.bundles_root,
    )
    metrics: dict[str, float | None] = {
        "parity_rows": bundle.parity.rows,
        "parity_max_difference": bundle.parity.max_difference,
    }
    tracker = MlflowTracker(settings.mlflow_uri, settings.mlflow_artifacts, actor=settings.actor)
    tracker.log(
        str(trained["mlflow_run_id"]), metrics=metrics, tags={"ferryman.digest": bundle.digest}
    )
    return context.result(
        text=f"bundle {bundle.digest[:12]}: ONNX within {bundle.parity.max_difference:.1e} of the "
        f"pipeline on {bundle.parity.rows} rows",
        outputs={
            "bundle": str(bundle.folder),
            "digest": bundle.digest,
            "max_difference": bundle.parity.max_difference,
        },
        metrics=metrics,
        artifacts={"bundle": str(bundle.folder)},
    )


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
