"""Which steps make which pipeline: the one list that the command line and the DAGs share."""

from collections.abc import Mapping
from dataclasses import dataclass

from ferryman.spec.model import ModelSpec


@dataclass(frozen=True)
class Pipeline:
    """Steps in order; `after` names the pipeline whose newest finished run they build on.

    `search` stands before the steps, for models that declare a search; what is in `afterwards`
    tells of the result, which is whole without it.
    """

    name: str
    steps: tuple[str, ...]
    windowed: bool = False
    after: str | None = None
    search: tuple[str, ...] = ()
    afterwards: tuple[str, ...] = ()

    def steps_of(self, spec: ModelSpec) -> tuple[str, ...]:
        """The steps of one model."""
        before = () if spec.search is None else self.search
        return (*before, *self.steps, *self.afterwards)


PIPELINES: Mapping[str, Pipeline] = {
    pipeline.name: pipeline
    for pipeline in (
        Pipeline("ingest", ("ingest", "validate"), windowed=True),
        Pipeline(
            "training",
            ("train", "evaluate", "package", "register"),
            search=("open_search", "tune"),
            afterwards=("report",),
        ),
        Pipeline("release", ("gate", "stage", "commit", "reconcile"), after="training"),
        Pipeline(
            "monitoring", ("score", "join_labels", "monitor", "decide_retrain"), windowed=True
        ),
        Pipeline("maintenance", ("maintenance",)),
    )
}


def pipeline_of(step: str) -> Pipeline:
    """The pipeline that a step belongs to."""
    return next(
        pipeline
        for pipeline in PIPELINES.values()
        if step in (*pipeline.search, *pipeline.steps, *pipeline.afterwards)
    )
