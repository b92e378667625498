"""The scikit-learn trainer: fits the user's pipeline on the declared feature columns."""

import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ferryman.errors import DataRejected, SpecError
from ferryman.spec.data import FeatureSpec
from ferryman.spec.metrics import Task
from ferryman.spec.model import DeclaredModel
from ferryman.spec.training import TrainSpec
from ferryman.training.core_limit import core_limit
from ferryman.training.labels import encode_labels, refuse_constant
from ferryman.training.model_input import model_input
from ferryman.training.pipeline_file import blamed_on, build_estimator
from ferryman.training.skops_file import save_skops
from ferryman.training.trainer import FitPlan, Predictions

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger(__name__)

# Below this many cells a second thread saves nothing, and on a busy machine OpenMP's waiting
# threads made the same fit up to thirty times slower.
_CELLS_PER_THREAD = 4_000_000


class SklearnModel:
    """A fitted scikit-learn pipeline, and the task that it was fitted for."""

    history: Sequence[Mapping[str, float]] = ()

    def __init__(
        self, estimator: Any, columns: Mapping[str, FeatureSpec], task: Task, *, cores: int = 1
    ) -> None:
        self._estimator = estimator
        self._columns = dict(columns)
        self._task = task
        self._cores = cores

    @property
    def estimator(self) -> Any:
        """The fitted pipeline."""
        return self._estimator

    def predict(self, frame: "pd.DataFrame") -> Predictions:
        """The answers for rows of feature columns; see Predictions for their shape."""
        values = model_input(frame, self._columns)
        with core_limit(self._cores, threads=_threads(self._cores, values.shape)):
            if self._task == "regression":
                answers = self._estimator.predict(values)
            else:
                answers = self._estimator.predict_proba(values)
        answers = np.asarray(answers, dtype=np.float64)
        return answers[:, 1] if self._task == "binary" else answers

    def save(self, path: Path) -> None:
        """Write the pipeline as a skops file, atomically."""
        save_skops(self._estimator, path)


class SklearnTrainer:
    """Fits `build(params, seed)` of the model's folder; deterministic given the seed."""

    def __init__(self, *, cores: int = 1) -> None:
        self._cores = cores

    def fit(
        self, frame: "pd.DataFrame", declared: DeclaredModel, plan: FitPlan | None = None
    ) -> SklearnModel:
        """Fit on the declared columns and `label`; errors as in the port."""
        plan = plan or FitPlan.of(declared.spec.train)
        train, columns = declared.spec.train, declared.spec.features.columns
        labels = encode_labels(frame["label"], train)
        refuse_constant(labels, train)
        estimator = build_estimator(declared, plan)
        file = declared.folder / plan.pipeline.partition(":")[0]
        values = model_input(frame, columns)
        started = time.perf_counter()
        with core_limit(self._cores, threads=_threads(self._cores, values.shape)):
            blamed_on(file, lambda: estimator.fit(values, labels))
        logger.info("fitted %d rows in %.2f s", len(values), time.perf_counter() - started)
        _check_answers(estimator, train, labels, file)
        return SklearnModel(estimator, columns, train.task, cores=self._cores)


def _check_answers(estimator: Any, train: TrainSpec, labels: npt.NDArray[Any], file: Path) -> None:
    """The fitted estimator answers as the task wants, and knows every declared class."""
    wanted = "predict" if train.task == "regression" else "predict_proba"
    if not hasattr(estimator, wanted):
        raise SpecError(
            f"{file}:1: {type(estimator).__name__} has no {wanted}()",
            remedy=f"A {train.task} task needs an estimator that has it.",
        )
    if train.task == "multiclass" and len(estimator.classes_) < len(train.classes):
        seen = set(np.unique(labels).tolist())
        missing = [name for place, name in enumerate(train.classes) if place not in seen]
        raise DataRejected(
            f"no training row has the classes {', '.join(missing[:10])}",
            remedy="Lengthen train.window, or take them out of train.classes.",
        )


def _threads(cores: int, shape: tuple[int, ...]) -> int:
    return max(1, min(cores, shape[0] * shape[1] // _CELLS_PER_THREAD))
