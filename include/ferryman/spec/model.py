"""A model's declaration: the typed form of model.yaml, version 1."""

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ferryman.spec.data import DataSpec, FeaturesSpec
from ferryman.spec.durations import Duration
from ferryman.spec.evaluation import EvaluationSpec, GatesSpec
from ferryman.spec.metrics import MetricName
from ferryman.spec.part import Part
from ferryman.spec.rollout import RolloutSpec
from ferryman.spec.serving import ServingSpec
from ferryman.spec.training import SearchSpec, TrainSpec

_NAME = r"[a-z][a-z0-9_]{0,62}"


class OwnerSpec(Part):
    """Who answers for the model."""

    team: str = Field(min_length=1, max_length=100)
    contact: str = Field(min_length=1, max_length=200)


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
    drill: str | None = Field(default=None, description="The fire drill, such as 0 6 * * 1.")


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
    search: SearchSpec | None = None
    evaluation: EvaluationSpec = EvaluationSpec()
    gates: GatesSpec
    serving: ServingSpec = ServingSpec()
    rollout: RolloutSpec = RolloutSpec()
    monitor: MonitorSpec = MonitorSpec()
    schedule: ScheduleSpec = ScheduleSpec()
    runtime: RuntimeSpec = RuntimeSpec()

    @model_validator(mode="before")
    @classmethod
    def _metrics_of_a_regression(cls, given: Any) -> Any:
        """Where no metric is named, log_loss compares; it is none of a regression: rmse is."""
        train = given.get("train") if isinstance(given, dict) else None
        if not isinstance(train, dict) or train.get("task") != "regression":
            return given
        return _with_default(
            given,
            ("gates", "champion", "metric"),
            ("monitor", "quality", "metric"),
            *([("search", "metric")] if given.get("search") else []),
        )


def _with_default(given: Mapping[str, Any], *places: tuple[str, ...]) -> dict[str, Any]:
    """A copy with rmse at each place that is not written; what is no mapping is left as it is."""
    filled = dict(given)
    for place in places:
        inner = filled
        for key in place[:-1]:
            below = inner.get(key, {})
            if not isinstance(below, dict):
                break
            inner[key] = inner = dict(below)
        else:
            inner.setdefault(place[-1], "rmse")
    return filled


class DeclaredModel(BaseModel):
    """A declaration together with where it was read and the digest of all it rests on."""

    model_config = ConfigDict(frozen=True)

    spec: ModelSpec
    folder: Path
    file: Path
    digest: str = Field(description="sha256 over every file of the model's folder.")

    def __str__(self) -> str:
        # Airflow keeps the text of what a mapped task is given, and shows it.
        return self.name

    @property
    def name(self) -> str:
        """The model's name, which is its folder's name too."""
        return self.spec.name
