"""The `train` and `search` parts of a declaration: how a model is fitted, and how it is tuned."""

from datetime import timedelta
from typing import Literal

from pydantic import Field, model_validator

from ferryman.spec.durations import Duration
from ferryman.spec.metrics import MetricName, Task
from ferryman.spec.part import Part

Framework = Literal["sklearn", "keras"]
ParamValue = float | int | str | bool

PIPELINE = r"^[A-Za-z_][A-Za-z0-9_]*\.py:[A-Za-z_][A-Za-z0-9_]*$"


class TrainSpec(Part):
    """How a model is fitted, and on which part of the past."""

    framework: Framework
    task: Task
    classes: list[str] = Field(
        default_factory=list,
        max_length=1000,
        description="Every value that the label of a multiclass task may have, in the order in "
        "which probabilities are answered; whole numbers are written in quotes.",
    )
    pipeline: str = Field(
        pattern=PIPELINE,
        description="FILE:FUNCTION in the model's folder: (params, seed) -> estimator, or a "
        "compiled Keras model.",
    )
    params: dict[str, ParamValue] = Field(
        default_factory=dict,
        description="Given to the pipeline; with keras, epochs and batch_size go to the fit too.",
    )
    seed: int = Field(default=7, ge=0, lt=2**32)
    workers: int = Field(
        default=1, ge=1, le=64, description="Processes that train one Keras model together."
    )
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
    suspicious_r2: float | None = Field(
        default=0.999999,
        gt=0,
        le=1,
        description="In a regression, a column that alone explains this share of the label's "
        "variance is a leak; null where that is what it shall do.",
    )

    @model_validator(mode="after")
    def _fits_together(self) -> "TrainSpec":
        if len(set(self.group)) < len(self.group):
            raise ValueError("a column stands twice in group")
        if self.task == "multiclass" and len(self.classes) < 2:
            raise ValueError("a multiclass task needs classes: at least two of them")
        if self.task != "multiclass" and self.classes:
            raise ValueError(f"classes are for multiclass tasks, not for {self.task}")
        if len(set(self.classes)) < len(self.classes):
            raise ValueError("a class stands twice in classes")
        if self.workers > 1 and self.framework != "keras":
            raise ValueError("workers are for framework keras; runtime.cpu gives sklearn its cores")
        return self


class DimensionSpec(Part):
    """The values that a search may try for one parameter: a list, or a range of numbers."""

    choices: list[ParamValue] | None = Field(default=None, min_length=1, max_length=1000)
    min: float | int | None = None
    max: float | int | None = None
    step: float | int | None = Field(default=None, gt=0)
    log: bool = Field(default=False, description="Draw on a logarithmic scale.")
    integer: bool = Field(default=False, description="Whole numbers only.")

    @model_validator(mode="after")
    def _list_or_range(self) -> "DimensionSpec":
        bounds = (self.min, self.max)
        if (self.choices is None) == (None in bounds) and self.choices is None:
            raise ValueError("give choices, or min and max")
        if self.choices is not None:
            if bounds != (None, None) or self.step is not None or self.log or self.integer:
                raise ValueError("choices stand alone: no min, max, step, log or integer")
            return self
        if self.min is None or self.max is None or not self.min < self.max:
            raise ValueError("min must be below max")
        if self.log and (self.min <= 0 or self.step is not None):
            raise ValueError("log needs a min above 0, and no step")
        if self.integer and not (float(self.min).is_integer() and float(self.max).is_integer()):
            raise ValueError("the bounds of whole numbers must be whole numbers")
        if self.integer and self.step is not None and not float(self.step).is_integer():
            raise ValueError("the step of whole numbers must be a whole number")
        if self.step is not None and self.step > self.max - self.min:
            raise ValueError("step must not be larger than max - min")
        return self


class ResourceSpec(Part):
    """What successive halving gives more of to the better trials: a parameter of the pipeline."""

    param: str
    min: int = Field(ge=1)
    max: int = Field(ge=2)
    factor: int = Field(default=3, ge=2, le=10, description="One of so many goes on.")

    @model_validator(mode="after")
    def _grows(self) -> "ResourceSpec":
        if self.max < self.min * self.factor:
            raise ValueError("max must be at least min times factor")
        return self


class SearchBudget(Part):
    """What a search may cost."""

    cpu_hours: float = Field(
        gt=0,
        le=1_000_000,
        description="CPU hours of all workers together; where they are spent, no further trial is "
        "drawn, and those that run are finished.",
    )


class SearchSpec(Part):
    """How parameters are searched before a training; the search never sees the holdout."""

    method: Literal["grid", "random", "tpe", "cma_es", "halving", "hyperband"]
    space: dict[str, DimensionSpec] = Field(min_length=1)
    metric: MetricName = "log_loss"
    validation: Duration = Field(
        default=timedelta(days=7),
        description="Newest part of the training window, which scores the trials.",
    )
    trials: int = Field(default=50, ge=1, le=10_000, description="Budget of finished trials.")
    time: Duration | None = Field(default=None, description="Budget of time for all trials.")
    budget: SearchBudget | None = None
    patience: int | None = Field(
        default=None, ge=2, description="Stop after so many trials in a row that bring no better."
    )
    least_gain: float = Field(default=0.0, ge=0, description="A smaller gain does not count.")
    workers: int = Field(default=2, ge=1, le=64, description="Tasks that draw trials.")
    max_failed: float = Field(
        default=0.2, ge=0, lt=1, description="Largest share of trials that may fail."
    )
    resource: ResourceSpec | None = None

    @model_validator(mode="after")
    def _method_has_what_it_needs(self) -> "SearchSpec":
        by_resource = self.method in ("halving", "hyperband")
        if by_resource and self.resource is None:
            raise ValueError(
                f"method {self.method} needs a resource, of which good trials get more"
            )
        if self.resource is not None and not by_resource:
            raise ValueError(f"resource is for halving and hyperband, not for {self.method}")
        if self.resource is not None and self.resource.param in self.space:
            raise ValueError(f"{self.resource.param!r} is the resource: it is not in space too")
        for name, dimension in self.space.items():
            listed = dimension.choices is not None
            if self.method == "grid" and not (listed or dimension.step or dimension.integer):
                raise ValueError(f"a grid needs choices or a step for {name!r}")
            if self.method == "cma_es" and listed:
                raise ValueError(f"cma_es draws numbers: choices for {name!r} need another method")
        if self.method == "cma_es" and len(self.space) < 2:
            raise ValueError("cma_es needs two parameters or more")
        return self
