"""Which steps make which pipeline: the one list that the command line and the DAGs share."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Pipeline:
    """Steps in order; `after` names the pipeline whose newest finished run they build on."""

    name: str
    steps: tuple[str, ...]
    windowed: bool = False
    after: str | None = None


PIPELINES: Mapping[str, Pipeline] = {
    pipeline.name: pipeline
    for pipeline in (
        Pipeline("ingest", ("ingest", "validate"), windowed=True),
        Pipeline("training", ("train", "evaluate", "package", "register")),
        Pipeline("release", ("gate", "stage", "commit", "reconcile"), after="training"),
        Pipeline(
            "monitoring", ("score", "join_labels", "monitor", "decide_retrain"), windowed=True
        ),
        Pipeline("maintenance", ("maintenance",)),
    )
}


def pipeline_of(step: str) -> Pipeline:
    """The pipeline that a step belongs to."""
    return next(pipeline for pipeline in PIPELINES.values() if step in pipeline.steps)
