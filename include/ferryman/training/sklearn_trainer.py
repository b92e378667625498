"""The scikit-learn trainer: fits the user's pipeline on the declared feature columns."""

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ferryman.errors import DataRejected, SpecError
from ferryman.spec.data import FeatureSpec
from ferryman.spec.model import DeclaredModel
from ferryman.training.model_input import model_input
from ferryman.training.pipeline_file import blamed_on, build_estimator
from ferryman.training.skops_file import save_skops
from ferryman.training.trainer import Scores

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger(__name__)

# Below this many cells a second thread saves nothing, and on a busy machine OpenMP's waiting
# threads made the same fit up to thirty times slower.
_CELLS_PER_THREAD = 4_000_000


class SklearnModel:
    """A fitted scikit-learn pipeline with a binary outcome."""

    def __init__(
        self, estimator: Any, columns: Mapping[str, FeatureSpec], *, cores: int = 1
    ) -> None:
        self._estimator = estimator
        self._columns = dict(columns)
        self._cores = cores

    @property
    def estimator(self) -> Any:
        """The fitted pipeline."""
        return self._estimator

    def predict(self, frame: "pd.DataFrame") -> Scores:
        """The probability of the label for each row, float64, shape [rows]."""
        from threadpoolctl import threadpool_limits

        values = model_input(frame, self._columns)
        with threadpool_limits(_threads(self._cores, values.shape)):
            scores = self._estimator.predict_proba(values)[:, 1]
        return np.asarray(scores, dtype=np.float64)

    def save(self, path: Path) -> None:
        """Write the pipeline as a skops file, atomically."""
        save_skops(self._estimator, path)


class SklearnTrainer:
    """Fits `build(params, seed)` of the model's folder; deterministic given the seed."""

    def __init__(self, *, cores: int = 1) -> None:
        self._cores = cores

    def fit(self, frame: "pd.DataFrame", declared: DeclaredModel) -> SklearnModel:
        """Fit on the declared columns and `label`; errors as in the port."""
        from threadpoolctl import threadpool_limits

        columns = declared.spec.features.columns
        labels = frame["label"].to_numpy(dtype=bool)
        if labels.all() or not labels.any():
            only = "true" if len(labels) and labels[0] else "false"
            raise DataRejected(
                f"all {len(labels)} labels of the training data are {only}: nothing to learn",
                remedy="Lengthen train.window, or repair the label's query.",
            )
        estimator = build_estimator(declared)
        file = declared.folder / declared.spec.train.pipeline.partition(":")[0]
        values = model_input(frame, columns)
        started = time.perf_counter()
        with threadpool_limits(_threads(self._cores, values.shape)):
            blamed_on(file, lambda: estimator.fit(values, labels))
        logger.info("fitted %d rows in %.2f s", len(values), time.perf_counter() - started)
        if not hasattr(estimator, "predict_proba"):
            raise SpecError(
                f"{file}:1: {type(estimator).__name__} has no predict_proba()",
                remedy="A binary task needs a classifier that gives probabilities.",
            )
        return SklearnModel(estimator, columns, cores=self._cores)


def _threads(cores: int, shape: tuple[int, ...]) -> int:
    return max(1, min(cores, shape[0] * shape[1] // _CELLS_PER_THREAD))
