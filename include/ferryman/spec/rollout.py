"""The `rollout` part of model.yaml: how a candidate that passed its gates reaches users."""

from datetime import timedelta
from typing import Literal

from pydantic import Field, model_validator

from ferryman.spec.durations import Duration
from ferryman.spec.metrics import MetricName
from ferryman.spec.part import Part

Strategy = Literal["direct", "canary", "ab", "shadow"]

_TEN_MINUTES = timedelta(minutes=10)
_HOUR = timedelta(hours=1)
_DAY = timedelta(days=1)


class StageSpec(Part):
    """One share of the traffic, and how long it is held."""

    weight: float = Field(gt=0, le=1, description="Share of the requests, by sticky hash.")
    hold: Duration = Field(
        default=_TEN_MINUTES, description="Least time; evidence decides no sooner."
    )
    patience: Duration = Field(
        default=_HOUR,
        description="How much longer an undecided stage is held before the release is aborted.",
    )


class LimitsSpec(Part):
    """How much worse than the champion a candidate may behave under traffic."""

    errors: float = Field(
        default=0.01, gt=0, lt=1, description="Most increase of the share of failed requests."
    )
    latency: float = Field(default=1.5, gt=1, description="Most ratio of the 95th percentiles.")
    shift: float = Field(
        default=0.3,
        gt=0,
        lt=1,
        description="Most distance (Kolmogorov-Smirnov) between both distributions of predictions.",
    )
    min_requests: int = Field(
        default=200, ge=20, description="Requests of the candidate, a stage, before it may pass."
    )


class LabelsSpec(Part):
    """What labelled answers of both must say; the test may be looked at any time."""

    require: bool | None = Field(
        default=None,
        description="Whether a stage passes on labelled answers only; null: in an A/B test.",
    )
    metric: MetricName | None = Field(
        default=None, description="A mean over rows; null: that of gates.champion, if it is one."
    )
    significance: float = Field(
        default=0.05, gt=0, lt=0.5, description="Rate of false verdicts, over all looks together."
    )
    margin: float = Field(
        default=0.0, ge=0, description="A difference of the metric that still counts as none."
    )
    min_labels: int = Field(default=100, ge=10, description="Labelled answers of each of the two.")
    late: Duration = Field(
        default=timedelta(days=7),
        description="How long after the release labels may still roll it back.",
    )


class ApprovalSpec(Part):
    """Who must say yes before a candidate meets users."""

    approvers: list[str] = Field(
        min_length=1, max_length=50, description="User names; the requester is never one."
    )
    answer_within: Duration = Field(default=_DAY, description="No answer in time is a no.")


class DrillSpec(Part):
    """The fire drill: a bad model on purpose, to see that it is caught."""

    weight: float = Field(default=0.05, gt=0, le=0.5)
    within: Duration = Field(
        default=timedelta(minutes=5), description="Detection, return to 0, alert and ledger entry."
    )


class RolloutSpec(Part):
    """How a passed candidate reaches users."""

    strategy: Strategy = "direct"
    approval: ApprovalSpec | None = Field(default=None, description="null: by evidence alone.")
    stages: list[StageSpec] = Field(
        default=[], max_length=10, description="Empty: those that are usual for the strategy."
    )
    limits: LimitsSpec = LimitsSpec()
    labels: LabelsSpec = LabelsSpec()
    drill: DrillSpec = DrillSpec()

    @model_validator(mode="after")
    def _stages_fit(self) -> "RolloutSpec":
        weights = [stage.weight for stage in self.stages]
        if self.strategy == "direct" and weights:
            raise ValueError("stages: a direct rollout has none; write strategy: canary")
        if self.strategy in ("ab", "shadow") and len(weights) > 1:
            raise ValueError(f"stages: {self.strategy} has one stage")
        if self.strategy == "canary" and any(weight >= 1 for weight in weights):
            raise ValueError("stages: a canary leaves the champion a share: weights are below 1")
        if self.strategy == "ab" and weights and not 0.05 <= weights[0] <= 0.95:
            raise ValueError("stages: an A/B test gives either side at least 0.05")
        if weights != sorted(set(weights)):
            raise ValueError("stages: weights rise from stage to stage")
        return self

    @property
    def planned(self) -> tuple[StageSpec, ...]:
        """The stages that are gone through; none of a direct rollout."""
        return tuple(self.stages) or _USUAL[self.strategy]

    @property
    def needs_labels(self) -> bool:
        """Whether labelled answers must decide."""
        return self.strategy == "ab" if self.labels.require is None else self.labels.require


_USUAL: dict[Strategy, tuple[StageSpec, ...]] = {
    "direct": (),
    "canary": tuple(StageSpec(weight=weight) for weight in (0.05, 0.25, 0.5)),
    "ab": (StageSpec(weight=0.5, hold=_DAY, patience=timedelta(days=13)),),
    "shadow": (StageSpec(weight=1.0, hold=_HOUR, patience=_DAY),),
}
