"""A model's declaration: the typed form of model.yaml, version 1."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ferryman.spec.data import DataSpec, FeaturesSpec
from ferryman.spec.evaluation import EvaluationSpec, GatesSpec
from ferryman.spec.monitoring import MonitorSpec
from ferryman.spec.notify import NotifySpec
from ferryman.spec.part import Part
from ferryman.spec.rollout import RolloutSpec
from ferryman.spec.serving import ServingSpec
from ferryman.spec.training import SearchSpec, TrainSpec

_NAME = r"[a-z][a-z0-9_]{0,62}"


class OwnerSpec(Part):
    """Who answers for the model."""

    team: str = Field(min_length=1, max_length=100)
    contact: str = Field(min_length=1, max_length=200)


class ScheduleSpec(Part):
    """When the model's DAGs run by themselves: cron expressions in UTC, or null for never."""

    ingest: str | None = "0 0 * * *"
    monitoring: str | None = "0 0 * * *"
    training: str | None = None
    scoring: str | None = Field(default=None, description="A window scored in batch by itself.")
    maintenance: str | None = "0 3 * * 0"
    drill: str | None = Field(default=None, description="The fire drill, such as 0 6 * * 1.")


class WeeklyBudget(Part):
    """What the trainings of a model may cost in a week."""

    cpu_hours: float = Field(
        gt=0,
        le=1_000_000,
        description="CPU hours of the last seven days; a training that would exceed them is "
        "refused (exit 9) before it begins.",
    )


class RuntimeSpec(Part):
    """Where steps run, and on how much machine."""

    place: Literal["inline"] = "inline"
    cpu: int = Field(default=2, ge=1, le=256)
    weekly_budget: WeeklyBudget | None = None


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
    notify: NotifySpec = NotifySpec()
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
