"""The `monitor` part of a declaration: what is watched while the model serves."""

from datetime import timedelta
from typing import Literal

from pydantic import Field

from ferryman.spec.durations import Duration, Latency
from ferryman.spec.metrics import MetricName
from ferryman.spec.part import Part

Remedy = Literal["monitoring", "retraining", "rollback", "reconcile", "maintenance"]


class QualitySpec(Part):
    """Which fall in quality, on labelled predictions, counts as a reason to retrain."""

    metric: MetricName = "log_loss"
    window: Duration = timedelta(days=7)
    min_labels: int = Field(default=200, ge=1)
    tolerance: float = Field(
        default=0.02, ge=0, description="Worsening against the gate's figure that is still normal."
    )
    matures: Duration = Field(
        default=timedelta(days=30),
        description="How long after an event's day its label may come; until then the day's "
        "figure is restated.",
    )


class GroupsSpec(Part):
    """When a slice or a group of the served answers counts as worse than it was."""

    tolerance: float = Field(
        default=0.05,
        ge=0,
        description="Worsening of a slice against its figure in the champion's evaluation that is "
        "still normal; in the unit of quality.metric.",
    )
    significance: float = Field(
        default=0.01,
        gt=0,
        lt=0.5,
        description="False-alarm rate of a night over all slices together, and over all groups.",
    )
    min_labels: int | None = Field(
        default=None, ge=5, description="Fewest labels of a slice; default: evaluation.min_rows."
    )


class OperationsSpec(Part):
    """Bounds on the latency of answers, each for every version and variant; null for none."""

    p50: Latency | None = None
    p95: Latency | None = None
    p99: Latency | None = None
    min_requests: int = Field(default=100, ge=20)
    significance: float = Field(
        default=0.001, gt=0, lt=0.5, description="Chance of a wrong alarm of one bound in a night."
    )


class DriftSpec(Part):
    """Which change of inputs, predictions or errors counts as drift."""

    effect: float = Field(
        default=0.15,
        gt=0,
        description="Least change worth an alarm, as a shift in standard deviations.",
    )
    significance: float = Field(
        default=0.001, gt=0, lt=1, description="False-alarm rate of a night, over everything."
    )
    window: Duration = timedelta(days=7)
    previous: Duration = Field(
        default=timedelta(days=7),
        description="The time before the newest window that it is compared with.",
    )
    min_rows: int = Field(default=300, ge=30)


class ProbeSpec(Part):
    """A cheap trial before a retrain: on the newest labels, would it have been better?"""

    margin: float = Field(
        default=0.002,
        ge=0,
        description="Improvement, in the unit of quality.metric, that a training is worth.",
    )
    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    rows: int = Field(
        default=50_000, ge=100, description="Most rows that it learns from, and is judged on."
    )
    undecided: Literal["retrain", "wait"] = Field(
        default="retrain", description="What is done, within the budget, where it cannot tell."
    )
    rests: Duration = Field(
        default=timedelta(days=2), description="How long a retrain that it advised against waits."
    )


class RetrainSpec(Part):
    """When monitoring asks for a retrain, and how often it may."""

    cool_down: Duration = timedelta(days=5)
    per_week: int = Field(default=1, ge=1, le=14)
    max_age: Duration | None = Field(
        default=None, description="A champion whose data is older than this calls for a retrain."
    )
    new_rows: int | None = Field(
        default=None, ge=1, description="So many labelled rows since its data call for a retrain."
    )
    on_commit: bool = Field(
        default=False, description="A change of the model's folder calls for a retrain."
    )
    probe: ProbeSpec | None = ProbeSpec()


class AlertsSpec(Part):
    """What an alert of Prometheus may start by itself."""

    remedies: tuple[Remedy, ...] = Field(
        default=("monitoring",),
        description="Remedies that alerts about this model may start; all others are left to "
        "people.",
    )


class MonitorSpec(Part):
    """What is watched while the model serves."""

    quality: QualitySpec = QualitySpec()
    groups: GroupsSpec = GroupsSpec()
    operations: OperationsSpec = OperationsSpec()
    drift: DriftSpec = DriftSpec()
    retrain: RetrainSpec = RetrainSpec()
    alerts: AlertsSpec = AlertsSpec()
