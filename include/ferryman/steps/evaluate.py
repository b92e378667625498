"""Scores the fitted model on the days after its training data: metrics, intervals, confusion."""

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from ferryman.data.versions.dataset import DatasetStore
from ferryman.evaluation.intervals import bootstrap
from ferryman.evaluation.metrics import Bools, Floats, confusion, score_binary
from ferryman.evaluation.report import confusion_png
from ferryman.registry.mlflow_tracking import MlflowTracker
from ferryman.runtime.files import space_errors, write_atomic, write_json
from ferryman.runtime.messages import StepResult
from ferryman.steps.contract import StepContext, StepParams
from ferryman.training.trainers import load_model_file

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger(__name__)

PREDICTIONS = "predictions.parquet"
CONFUSION = "confusion_matrix"


class Params(StepParams):
    """No parameters: the holdout is declared, never chosen by hand."""


def run(context: StepContext) -> StepResult:
    """Score the evaluation dataset, and remember the figures in MLflow."""
    settings, spec = context.settings, context.spec
    trained = context.earlier("train").outputs
    frame = DatasetStore(context.data_store).load(str(trained["eval_dataset"]), spec.name)
    model_file = Path(str(trained["model_file"]))
    model = load_model_file(model_file, spec, cores=settings.core_count)
    labels: Bools = frame["label"].to_numpy(dtype=bool)
    scores = model.predict(frame)
    metrics = _figures(labels, scores, context)
    predictions = context.folder / PREDICTIONS
    _write_predictions(predictions, frame, scores)

    counts = confusion(labels, scores)
    matrix = {
        f"{CONFUSION}.json": json.dumps(counts.as_dict(), indent=2).encode() + b"\n",
        f"{CONFUSION}.png": confusion_png(counts, label=spec.data.label.name),
    }
    for name, content in matrix.items():
        write_atomic(context.folder / name, content)
    tracker = MlflowTracker(settings.mlflow_uri, settings.mlflow_artifacts, actor=settings.actor)
    run_id = str(trained["mlflow_run_id"])
    tracker.log(run_id, metrics=metrics)
    tracker.log_files(run_id, matrix, "evaluation")
    write_json(context.folder / "metrics.json", metrics)
    return context.result(
        text=_text(metrics),
        outputs={"predictions": str(predictions), "confusion": dict(counts.as_dict())},
        metrics=metrics,
        artifacts={
            "predictions": str(predictions),
            **{name: str(context.folder / name) for name in matrix},
        },
    )


def _figures(labels: Bools, scores: Floats, context: StepContext) -> dict[str, float | None]:
    """Every metric, and its interval as <metric>_low and <metric>_high."""
    gates = context.spec.gates
    figures = score_binary(labels, scores)
    intervals = bootstrap(
        labels,
        scores,
        confidence=gates.champion.confidence,
        resamples=gates.resamples,
        seed=context.spec.train.seed,
    )
    for name, interval in intervals.items():
        figures[f"{name}_low"] = interval.low if interval else None
        figures[f"{name}_high"] = interval.high if interval else None
    return figures


def _write_predictions(target: Path, frame: "pd.DataFrame", scores: Floats) -> None:
    table = pa.table(
        {
            "entity_key": pa.array(frame["entity_key"], pa.string()),
            "event_time": pa.array(frame["event_time"], pa.timestamp("us", tz="UTC")),
            "label": pa.array(frame["label"].to_numpy(dtype=bool), pa.bool_()),
            "score": pa.array(scores, pa.float64()),
        }
    )
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    with space_errors(target):
        write_atomic(target, sink.getvalue().to_pybytes())


def _text(metrics: dict[str, float | None]) -> str:
    shown = [
        f"{name} {metrics[name]:.4f} [{metrics[f'{name}_low']:.4f}, {metrics[f'{name}_high']:.4f}]"
        for name in ("roc_auc", "log_loss")
        if metrics[name] is not None and metrics[f"{name}_low"] is not None
    ]
    return f"evaluated {metrics['rows']:.0f} rows: " + (", ".join(shown) or "no metric can be had")
