"""The trainer port: what fits a declared model, and what a fitted model can do."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from ferryman.spec.model import DeclaredModel
from ferryman.spec.training import ParamValue, TrainSpec

if TYPE_CHECKING:
    import pandas as pd

# binary: the probability of the label, [rows]; multiclass: a probability a class, in the order of
# train.classes, [rows, classes]; regression: the value, [rows]. float64 always.
Predictions = npt.NDArray[np.float64]


@dataclass(frozen=True)
class FitPlan:
    """What is fitted where it differs from call to call: a trial, a baseline, the model itself.

    `pipeline` is FILE:FUNCTION in the model's folder.
    """

    pipeline: str
    params: Mapping[str, ParamValue]
    seed: int

    @classmethod
    def of(cls, train: TrainSpec, **params: ParamValue) -> "FitPlan":
        """The declared training, with some parameters replaced."""
        return cls(train.pipeline, {**train.params, **params}, train.seed)


class FittedModel(Protocol):
    """A model after training."""

    @property
    def estimator(self) -> Any:
        """The framework's own object, for export."""
        ...

    @property
    def history(self) -> Sequence[Mapping[str, float]]:
        """The training's own figures by name, one mapping an epoch; empty where it has no epochs.

        A model that was read from a file has none.
        """
        ...

    def predict(self, frame: "pd.DataFrame") -> Predictions:
        """The answers for rows of feature columns; extra columns are ignored."""
        ...

    def save(self, path: Path) -> None:
        """Write the model to a file, atomically; equal models give equal bytes."""
        ...


class Trainer(Protocol):
    """Fits models of one framework."""

    def fit(
        self, frame: "pd.DataFrame", declared: DeclaredModel, plan: FitPlan | None = None
    ) -> FittedModel:
        """Fit on the declared feature columns and the column `label` (see training.labels).

        Without a plan the declared training is done.

        Raises SpecError (exit 2) with file and line where the user's pipeline cannot be made or
        fitted, DataRejected (exit 3) where the labels are all equal or unknown to the declaration.
        """
        ...
