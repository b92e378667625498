"""What a report is made from: the trained model, and the rows that trained and evaluate it."""

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ferryman.data.versions.dataset import DatasetStore
from ferryman.evaluation.measures import Measures, make_measures
from ferryman.steps.contract import StepContext
from ferryman.training.labels import encode_labels
from ferryman.training.trainer import FitPlan, FittedModel, Predictions
from ferryman.training.trainers import load_model_file, make_trainer

if TYPE_CHECKING:
    import pandas as pd


class Material:
    """The trained model with the rows that trained and evaluate it."""

    def __init__(self, context: StepContext) -> None:
        self.context = context
        self.spec = context.spec
        trained = context.earlier("train").outputs
        datasets = DatasetStore(context.data_store)
        self.train: pd.DataFrame = datasets.load(str(trained["train_dataset"]), self.spec.name)
        self.frame: pd.DataFrame = datasets.load(str(trained["eval_dataset"]), self.spec.name)
        self.model: FittedModel = load_model_file(
            Path(str(trained["model_file"])), self.spec, cores=self.cores
        )
        self.labels: npt.NDArray[Any] = encode_labels(self.frame["label"], self.spec.train)
        self.predictions: Predictions = self.model.predict(self.frame)

    @cached_property
    def train_labels(self) -> npt.NDArray[Any]:
        """The labels of the training rows, encoded."""
        return encode_labels(self.train["label"], self.spec.train)

    @property
    def cores(self) -> int:
        """Cores that a fit may use."""
        return min(self.context.settings.core_count, self.spec.runtime.cpu)

    @cached_property
    def measures(self) -> Measures:
        """The metrics of the task."""
        return make_measures(self.spec.train.task, self.spec.train.classes)

    @property
    def finite(self) -> bool:
        """Whether every answer is a number."""
        return bool(np.isfinite(self.predictions).all())

    @property
    def plan(self) -> FitPlan:
        """What was trained with: after a search not what is declared."""
        trained, train = self.context.earlier("train").outputs, self.spec.train
        params = trained.get("params")
        given = params if isinstance(params, dict) else train.params
        return FitPlan(train.pipeline, dict(given), train.seed)  # type: ignore[arg-type]

    def refit(self, frame: "pd.DataFrame") -> Callable[["pd.DataFrame"], Predictions]:
        """Train on other rows, in one process, and return how that model answers."""
        # Refits are small: further workers would cost more to start than they save.
        alone = self.spec.train.model_copy(update={"workers": 1})
        spec = self.spec.model_copy(update={"train": alone})
        declared = self.context.model.model_copy(update={"spec": spec})
        return make_trainer(spec, cores=self.cores).fit(frame, declared, self.plan).predict
