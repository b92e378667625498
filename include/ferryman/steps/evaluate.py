"""Scores the fitted model on the days after its training data: metrics, intervals, confusion."""

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import JsonValue

from ferryman.data.versions.dataset import DatasetStore
from ferryman.evaluation.confusion import confusion
from ferryman.evaluation.intervals import bootstrap
from ferryman.evaluation.measures import make_measures
from ferryman.evaluation.pictures import confusion_png
from ferryman.registry.mlflow_tracking import MlflowTracker
from ferryman.runtime.files import space_errors, write_atomic, write_json
from ferryman.runtime.messages import StepResult
from ferryman.spec.metrics import Task
from ferryman.steps.contract import StepContext, StepParams
from ferryman.training.labels import encode_labels
from ferryman.training.trainer import Predictions
from ferryman.training.trainers import load_model_file

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger(__name__)

PREDICTIONS = "predictions.parquet"
CONFUSION = "confusion_matrix"
# A step's result is small: the counts of more classes than this are in their file alone.
_MOST_IN_RESULT = 30
Labels = npt.NDArray[Any]
# What a step's one line shows; all others are in its result.
_HEADLINE: dict[Task, tuple[str, ...]] = {
    "binary": ("roc_auc", "log_loss"),
    "multiclass": ("accuracy", "log_loss"),
    "regression": ("rmse", "mae"),
}


class Params(StepParams):
    """No parameters: the holdout is declared, never chosen by hand."""


def run(context: StepContext) -> StepResult:
    """Score the evaluation dataset, and remember the figures in MLflow."""
    settings, spec = context.settings, context.spec
    trained = context.earlier("train").outputs
    frame = DatasetStore(context.data_store).load(str(trained["eval_dataset"]), spec.name)
    model_file = Path(str(trained["model_file"]))
    model = load_model_file(model_file, spec, cores=settings.core_count)
    labels = encode_labels(frame["label"], spec.train)
    predictions = model.predict(frame)
    metrics = _figures(labels, predictions, context)
    target = context.folder / PREDICTIONS
    _write_predictions(target, frame, predictions)

    outputs: dict[str, JsonValue] = {"predictions": str(target)}
    files: dict[str, bytes] = {}
    if spec.train.task != "regression":
        counts, files = _confusion(labels, predictions, context)
        if len(spec.train.classes) <= _MOST_IN_RESULT:
            outputs["confusion"] = counts
    for name, content in files.items():
        write_atomic(context.folder / name, content)
    tracker = MlflowTracker(settings.mlflow_uri, settings.mlflow_artifacts, actor=settings.actor)
    run_id = str(trained["mlflow_run_id"])
    tracker.log(run_id, metrics=metrics)
    tracker.log_files(run_id, files, "evaluation")
    write_json(context.folder / "metrics.json", metrics)
    return context.result(
        text=_text(metrics, spec.train.task),
        outputs=outputs,
        metrics=metrics,
        artifacts={
            "predictions": str(target),
            **{name: str(context.folder / name) for name in files},
        },
    )


def _figures(
    labels: Labels, predictions: Predictions, context: StepContext
) -> dict[str, float | None]:
    """Every metric, and its interval as <metric>_low and <metric>_high."""
    gates, train = context.spec.gates, context.spec.train
    measures = make_measures(train.task, train.classes)
    figures = measures.score(labels, predictions)
    intervals = bootstrap(
        measures,
        labels,
        predictions,
        confidence=gates.champion.confidence,
        resamples=gates.resamples,
        seed=train.seed,
    )
    for name, interval in intervals.items():
        figures[f"{name}_low"] = interval.low if interval else None
        figures[f"{name}_high"] = interval.high if interval else None
    return figures


def _confusion(
    labels: Labels, predictions: Predictions, context: StepContext
) -> tuple[JsonValue, dict[str, bytes]]:
    """The counts, and the files that hold them: numbers and a picture."""
    if not np.isfinite(predictions).all():
        return None, {}
    spec = context.spec
    found = confusion(labels, predictions, spec.train.classes)
    counts = found.as_json()
    return counts, {
        f"{CONFUSION}.json": json.dumps(counts, indent=2).encode() + b"\n",
        f"{CONFUSION}.png": confusion_png(found.counts, found.names, label=spec.data.label.name),
    }


def _write_predictions(target: Path, frame: "pd.DataFrame", predictions: Predictions) -> None:
    """The label as the dataset has it; `score` a number, or a list with one for each class."""
    # Contiguous: a flat view of what may be a slice of a wider answer.
    flat = pa.array(np.ascontiguousarray(predictions).reshape(-1), pa.float64())
    if predictions.ndim > 1:
        flat = pa.FixedSizeListArray.from_arrays(flat, predictions.shape[1])
    table = pa.table(
        {
            "entity_key": pa.array(frame["entity_key"], pa.string()),
            "event_time": pa.array(frame["event_time"], pa.timestamp("us", tz="UTC")),
            "label": pa.array(frame["label"]),
            "score": flat,
        }
    )
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    with space_errors(target):
        write_atomic(target, sink.getvalue().to_pybytes())


def _text(metrics: dict[str, float | None], task: Task) -> str:
    shown = [
        f"{name} {metrics[name]:.4f} [{metrics[f'{name}_low']:.4f}, {metrics[f'{name}_high']:.4f}]"
        for name in _HEADLINE[task]
        if metrics[name] is not None and metrics[f"{name}_low"] is not None
    ]
    return f"evaluated {metrics['rows']:.0f} rows: " + (", ".join(shown) or "no metric can be had")
