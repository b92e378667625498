"""The trainer port: what fits a declared model, and what a fitted model can do."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from ferryman.spec.model import DeclaredModel

if TYPE_CHECKING:
    import pandas as pd

Scores = npt.NDArray[np.float64]


class FittedModel(Protocol):
    """A model after training."""

    @property
    def estimator(self) -> Any:
        """The framework's own object, for export."""
        ...

    def predict(self, frame: "pd.DataFrame") -> Scores:
        """The probability of the label for each row, shape [rows]; extra columns are ignored."""
        ...

    def save(self, path: Path) -> None:
        """Write the model to a file, atomically; equal models give equal bytes."""
        ...


class Trainer(Protocol):
    """Fits models of one framework."""

    def fit(self, frame: "pd.DataFrame", declared: DeclaredModel) -> FittedModel:
        """Fit on the declared feature columns and the column `label` (bool) of a frame.

        Raises SpecError (exit 2) with file and line where the user's pipeline cannot be made or
        fitted, DataRejected (exit 3) where the labels hold one class only.
        """
        ...
