"""The `evaluation` and `gates` parts of a declaration: what is measured, and what must be shown."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from ferryman.spec.metrics import MetricName
from ferryman.spec.part import Part
from ferryman.spec.training import PIPELINE

Scalar = float | int | str | None


class SliceSpec(Part):
    """A column whose values part the evaluation rows; numbers are put in bins of equal counts."""

    column: str
    bins: int | None = Field(default=None, ge=2, le=20)


class EvaluationSpec(Part):
    """What a report shows beyond the figures of all rows."""

    slices: list[SliceSpec] = Field(default_factory=list, max_length=20)
    min_rows: int = Field(
        default=50, ge=5, description="A slice or group with fewer rows has not enough data."
    )
    learning_curve: int = Field(
        default=5, ge=0, le=20, description="Points of the learning curve; 0 for none."
    )
    risk_resamples: int = Field(
        default=10, ge=0, le=200, description="Refits for bias and variance; 0 for none."
    )
    refit_rows: int = Field(
        default=5000, ge=100, description="Most training rows of a refit for the two above."
    )
    explained_rows: int = Field(
        default=100, ge=0, le=10_000, description="Evaluation rows that are explained; 0 for none."
    )


class ThresholdSpec(Part):
    """An absolute bound on one metric; the interval's worse end must keep it."""

    min: float | None = None
    max: float | None = None

    @model_validator(mode="after")
    def _one_bound(self) -> "ThresholdSpec":
        if (self.min is None) == (self.max is None):
            raise ValueError("give exactly one of min and max")
        return self


class ChampionGateSpec(Part):
    """How a candidate must compare with the champion on the same rows."""

    metric: MetricName = "log_loss"
    require: Literal["better", "no_worse"] = Field(
        default="better",
        description="better: the improvement's lower bound is above margin; no_worse: the "
        "worsening's upper bound is below margin.",
    )
    margin: float = Field(default=0.0, ge=0, description="In the metric's unit; see require.")
    confidence: float = Field(default=0.95, gt=0.5, lt=1)

    @model_validator(mode="after")
    def _a_margin_to_keep(self) -> "ChampionGateSpec":
        if self.require == "no_worse" and self.margin == 0:
            raise ValueError("no_worse needs a margin above 0")
        return self


class BaselineSpec(Part):
    """What the first model must beat, in the champion's metric: a constant answer, or a pipeline.

    The constant is what the training labels say: their share, shares or mean.
    """

    kind: Literal["constant", "pipeline"] = "constant"
    pipeline: str | None = Field(default=None, pattern=PIPELINE)
    params: dict[str, float | int | str | bool] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one_kind(self) -> "BaselineSpec":
        if (self.kind == "pipeline") != (self.pipeline is not None):
            raise ValueError("pipeline: FILE:FUNCTION belongs to kind pipeline, and only to it")
        if self.kind == "constant" and self.params:
            raise ValueError("a constant has no params")
        return self


class SliceGateSpec(Part):
    """What must hold on every declared slice with enough rows; a shown violation fails."""

    metric: MetricName
    min: float | None = None
    max: float | None = None
    max_worse: float | None = Field(
        default=None, ge=0, description="Largest worsening against the champion on a slice."
    )

    @model_validator(mode="after")
    def _one_bound(self) -> "SliceGateSpec":
        if sum(bound is not None for bound in (self.min, self.max, self.max_worse)) != 1:
            raise ValueError("give exactly one of min, max and max_worse")
        return self


class FairnessGateSpec(Part):
    """Largest gap of a metric between the groups of a column; a shown larger one fails."""

    column: str
    metric: MetricName | Literal["selection_rate", "false_positive_rate", "false_negative_rate"]
    max_gap: float = Field(gt=0)


class InvarianceSpec(Part):
    """The answer must not change when these columns take other rows' values."""

    kind: Literal["invariance"]
    name: str = Field(min_length=1, max_length=100)
    columns: list[str] = Field(min_length=1)
    tolerance: float = Field(default=0.01, ge=0, description="Change of the answer that is none.")
    share: float = Field(default=0.95, gt=0, le=1, description="Of the rows that must keep it.")


class DirectionSpec(Part):
    """The answer must go one way when a number grows."""

    kind: Literal["direction"]
    name: str = Field(min_length=1, max_length=100)
    column: str
    by: float
    expect: Literal["higher", "lower"]
    of_class: str | None = Field(default=None, description="The class meant, in a multiclass task.")
    tolerance: float = Field(default=0.0, ge=0, description="A step back that is forgiven.")
    share: float = Field(default=0.9, gt=0, le=1, description="Of the rows that must follow.")


class ExampleSpec(Part):
    """A row whose answer is known: the least that a model must be able to do."""

    kind: Literal["example"]
    name: str = Field(min_length=1, max_length=100)
    row: dict[str, Scalar] = Field(description="Feature values; those not given are null.")
    of_class: str | None = Field(default=None, description="The class meant, in a multiclass task.")
    min: float | None = None
    max: float | None = None

    @model_validator(mode="after")
    def _a_bound(self) -> "ExampleSpec":
        if self.min is None and self.max is None:
            raise ValueError("give min, max, or both")
        return self


BehaviourSpec = Annotated[InvarianceSpec | DirectionSpec | ExampleSpec, Field(discriminator="kind")]


class GatesSpec(Part):
    """What a candidate must show before it may serve."""

    thresholds: dict[MetricName, ThresholdSpec] = Field(min_length=1)
    champion: ChampionGateSpec = ChampionGateSpec()
    baseline: BaselineSpec = BaselineSpec()
    slices: list[SliceGateSpec] = Field(default_factory=list)
    fairness: list[FairnessGateSpec] = Field(default_factory=list)
    behaviour: list[BehaviourSpec] = Field(default_factory=list, max_length=100)
    min_rows: int = Field(default=1000, ge=30, description="Fewer evaluation rows are undecided.")
    resamples: int = Field(default=1000, ge=200, le=20_000)
