"""A model's declaration: the typed form of model.yaml, version 1."""

from datetime import timedelta
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ferryman.spec.data import DataSpec, FeaturesSpec
from ferryman.spec.durations import Duration
from ferryman.spec.part import Part

_NAME = r"[a-z][a-z0-9_]{0,62}"


class OwnerSpec(Part):
    """Who answers for the model."""

    team: str = Field(min_length=1, max_length=100)
    contact: str = Field(min_length=1, max_length=200)


class TrainSpec(Part):
    """How a model is fitted, and on which part of the past."""

    framework: Literal["sklearn"]
    task: Literal["binary"]
    pipeline: str = Field(
        pattern=r"^[A-Za-z_][A-Za-z0-9_]*\.py:[A-Za-z_][A-Za-z0-9_]*$",
        description="FILE:FUNCTION in the model's folder: (params, seed) -> estimator.",
    )
    params: dict[str, float | int | str | bool] = Field(default_factory=dict)
    seed: int = Field(default=7, ge=0)
    window: Duration = Field(description="Length of the labelled past that training may see.")
    holdout: Duration = Field(
        description="Newest labelled days, kept from training, for evaluation."
    )
    min_rows: int = Field(default=1000, ge=10, description="Fewest labelled training rows.")
    group: list[str] = Field(
        default_factory=list,
        max_length=10,
        description="Features or entity columns that together name a group; training leaves out "
        "the groups whose rows evaluate.",
    )
    suspicious_auc: float = Field(
        default=0.999,
        gt=0.5,
        le=1,
        description="A column that alone reaches this AUC on the training rows is a leak.",
    )

    @model_validator(mode="after")
    def _each_once(self) -> "TrainSpec":
        if len(set(self.group)) < len(self.group):
            raise ValueError("a column stands twice in group")
        return self


class ThresholdSpec(Part):
    """An absolute bound on one metric; the interval's worse end must keep it."""

    min: float | None = None
    max: float | None = None

    @model_validator(mode="after")
    def _one_bound(self) -> "ThresholdSpec":
        if (self.min is None) == (self.max is None):
            raise ValueError("give exactly one of min and max")
        return self


MetricName = Literal["roc_auc", "log_loss", "brier", "accuracy", "precision", "recall", "f1"]


class ChampionGateSpec(Part):
    """How a candidate must compare with the champion on the same rows."""

    metric: MetricName = "log_loss"
    margin: float = Field(default=0.0, ge=0, description="Least improvement that counts as better.")
    confidence: float = Field(default=0.95, gt=0.5, lt=1)


class GatesSpec(Part):
    """What a candidate must show before it may serve."""

    thresholds: dict[MetricName, ThresholdSpec] = Field(min_length=1)
    champion: ChampionGateSpec = ChampionGateSpec()
    min_rows: int = Field(default=1000, ge=30, description="Fewer evaluation rows are undecided.")
    resamples: int = Field(default=1000, ge=200, le=20_000)


class RolloutSpec(Part):
    """How a passed candidate reaches users."""

    strategy: Literal["direct"] = "direct"


class QualitySpec(Part):
    """Which fall in quality, on labelled predictions, counts as a reason to retrain."""

    metric: MetricName = "log_loss"
    window: Duration = timedelta(days=7)
    min_labels: int = Field(default=200, ge=1)
    tolerance: float = Field(
        default=0.02, ge=0, description="Worsening against the gate's figure that is still normal."
    )


class DriftSpec(Part):
    """Which change of the inputs counts as drift."""

    effect: float = Field(default=0.25, gt=0, description="Least population stability index.")
    significance: float = Field(
        default=0.001, gt=0, lt=1, description="False-alarm rate over all columns together."
    )
    window: Duration = timedelta(days=7)
    min_rows: int = Field(default=300, ge=30)


class RetrainSpec(Part):
    """How often monitoring may ask for a retrain."""

    cool_down: Duration = timedelta(days=5)
    per_week: int = Field(default=1, ge=1, le=14)
    max_age: Duration | None = Field(
        default=None, description="A champion whose data is older than this is retrained anyway."
    )


class MonitorSpec(Part):
    """What is watched while the model serves."""

    quality: QualitySpec = QualitySpec()
    drift: DriftSpec = DriftSpec()
    retrain: RetrainSpec = RetrainSpec()


class ScheduleSpec(Part):
    """When the model's DAGs run by themselves: cron expressions in UTC, or null for never."""

    ingest: str | None = "0 0 * * *"
    monitoring: str | None = "0 0 * * *"
    training: str | None = None
    maintenance: str | None = "0 3 * * 0"


class RuntimeSpec(Part):
    """Where steps run, and on how much machine."""

    place: Literal["inline"] = "inline"
    cpu: int = Field(default=2, ge=1, le=256)


class ModelSpec(Part):
    """One model's whole declaration."""

    spec_version: Literal[1]
    name: str = Field(pattern=f"^{_NAME}$")
    description: str = Field(min_length=1, max_length=500)
    owner: OwnerSpec
    data: DataSpec
    features: FeaturesSpec
    expectations: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_.-]+\.yaml$")
    train: TrainSpec
    gates: GatesSpec
    rollout: RolloutSpec = RolloutSpec()
    monitor: MonitorSpec = MonitorSpec()
    schedule: ScheduleSpec = ScheduleSpec()
    runtime: RuntimeSpec = RuntimeSpec()


class DeclaredModel(BaseModel):
    """A declaration together with where it was read and the digest of all it rests on."""

    model_config = ConfigDict(frozen=True)

    spec: ModelSpec
    folder: Path
    file: Path
    digest: str = Field(description="sha256 over every file of the model's folder.")

    @property
    def name(self) -> str:
        """The model's name, which is its folder's name too."""
        return self.spec.name
