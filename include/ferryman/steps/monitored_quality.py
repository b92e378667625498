"""What `monitor` says of quality: labelled answers of late, of everybody and of the champion."""

from dataclasses import dataclass
from typing import Any

import pyarrow.compute as pc
from pydantic import JsonValue

from ferryman.evaluation.intervals import bootstrap
from ferryman.evaluation.measures import make_measures
from ferryman.ledger.records import Head, State
from ferryman.monitoring.estimate import WeightedScore
from ferryman.monitoring.joined_windows import JoinedWindows
from ferryman.monitoring.quality import Labels, Quality, Scores, measure
from ferryman.steps.contract import StepContext
from ferryman.steps.known_then import history_then
from ferryman.training.labels import encode_labels

_CONFIDENCE = 0.95
_RESAMPLES = 500


@dataclass(frozen=True)
class MonitoredQuality:
    """Quality over the trailing window.

    everybody counts every served prediction, champion only those of the version that the ledger
    names: what an older version did is no evidence against the one that replaced it.
    """

    everybody: Quality
    champion: Quality

    @property
    def text(self) -> str:
        """One line for people."""
        return self.everybody.text

    def outputs(self) -> dict[str, JsonValue]:
        """For the step's result, and the report."""
        return {"quality": self.everybody.as_json(), "champion_quality": self.champion.as_json()}

    def metrics(self) -> dict[str, float | None]:
        """For the step's result."""
        quality = self.everybody
        return {
            **(quality.metrics or {}),
            quality.metric: quality.value,
            f"{quality.metric}_low": quality.low,
            f"{quality.metric}_high": quality.high,
            "labelled": float(quality.labelled),
            "predicted": float(quality.predicted),
            "coverage": quality.coverage,
        }


def monitored_quality(context: StepContext, head: Head | None) -> MonitoredQuality:
    """Measure the trailing window that ends with this one."""
    joined = _joined(context)
    everybody = measure_joined(context, joined)
    own = joined.filter(pc.equal(joined["version"], head.version)) if head else joined.slice(0, 0)
    champion = everybody if own.num_rows == joined.num_rows else measure_joined(context, own)
    return MonitoredQuality(everybody, champion)


def champion_facts(context: StepContext, head: Head | None) -> dict[str, JsonValue] | None:
    """Who serves, on data up to when, and the figure that the gate saw."""
    if head is None:
        return None
    metric = context.spec.monitor.quality.metric
    return {
        "version": head.version,
        "epoch": head.epoch,
        "cutoff": _cutoff(context, head),
        "gate_value": _gate_value(context, head, metric),
    }


def _joined(context: StepContext) -> Any:
    end = context.window.end
    store = JoinedWindows(context.monitoring_root)
    train, start = context.spec.train, end - context.spec.monitor.quality.window
    return store.read(context.model.name, start, end, task=train.task, classes=train.classes)


def measure_joined(context: StepContext, joined: Any) -> Quality:
    """The declared metric on joined rows, with its interval; see monitoring.quality.measure."""
    train = context.spec.train
    measures = make_measures(train.task, train.classes)

    def interval(labels: Labels, scores: Scores, metric: str) -> tuple[float, float] | None:
        found = bootstrap(
            measures,
            labels,
            scores,
            metrics=[metric],
            confidence=_CONFIDENCE,
            resamples=_RESAMPLES,
            seed=train.seed,
        )[metric]
        return (found.low, found.high) if found else None

    return measure(
        joined,
        context.spec.monitor.quality,
        measures.score,
        interval,
        encode=lambda column: encode_labels(column.to_pandas(), train),
        confidence=_CONFIDENCE,
    )


def weighted_score(context: StepContext, metric: str) -> WeightedScore:
    """A function that gives a metric of the task where each row counts with a weight."""
    measures = make_measures(context.spec.train.task, context.spec.train.classes)

    def score(labels: Labels, scores: Scores, weights: Scores) -> float | None:
        drawn = measures.resampled(labels, scores).metrics(weights[None, :], [metric])
        return float(drawn[metric][0])

    return score


def _cutoff(context: StepContext, head: Head) -> str:
    """Of the data that the champion learned from: after a rollback older than the head's order."""
    history = history_then(context)
    own = (op.candidate for op in reversed(history) if op.candidate.digest == head.digest)
    return next((candidate.cutoff for candidate in own), head.order_key.cutoff)


def _gate_value(context: StepContext, head: Head, metric: str) -> float | None:
    """The candidate's figure in the verdict that let the champion pass."""
    history = history_then(context)
    for op in reversed(history):
        if op.state is State.GATED and op.candidate.digest == head.digest:
            value = op.evidence["candidate"].get(metric)
            return None if value is None else float(value)
    return None
