"""The Keras trainer: fits the user's compiled model on the declared feature columns."""

import logging
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ferryman.errors import SpecError
from ferryman.spec.data import FeatureSpec
from ferryman.spec.metrics import Task
from ferryman.spec.model import DeclaredModel
from ferryman.spec.training import ParamValue, TrainSpec
from ferryman.training.keras_file import save_keras
from ferryman.training.keras_runtime import prepare_keras
from ferryman.training.labels import encode_labels, refuse_constant
from ferryman.training.model_input import model_input
from ferryman.training.pipeline_file import blamed_on, build_estimator
from ferryman.training.trainer import FitPlan, Predictions

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger(__name__)

_ROWS_AT_ONCE = 8192  # rows that are answered in one call; bounds memory
_LOOK_ROWS = 100  # rows that an unfitted model is asked, to see what it answers


class KerasModel:
    """A fitted Keras model, and the task that it was fitted for."""

    def __init__(
        self,
        estimator: Any,
        columns: Mapping[str, FeatureSpec],
        task: Task,
        history: Sequence[Mapping[str, float]] = (),
    ) -> None:
        self._estimator = estimator
        self._columns = dict(columns)
        self._task = task
        self.history = history

    @property
    def estimator(self) -> Any:
        """The fitted keras.Model."""
        return self._estimator

    def predict(self, frame: "pd.DataFrame") -> Predictions:
        """The answers for rows of feature columns; see Predictions for their shape."""
        values = model_input(frame, self._columns).to_numpy(dtype=np.float32)
        answers = ask(self._estimator, values)
        if self._task != "multiclass":
            return answers[:, 0]
        # float32 sums to one within 1e-7 only; metrics want it to the last digit of float64.
        shares: Predictions = answers / answers.sum(axis=1, keepdims=True)
        return shares

    def save(self, path: Path) -> None:
        """Write the model as a .keras archive, atomically."""
        save_keras(self._estimator, path)


@dataclass(frozen=True)
class KerasRun:
    """What the parameters of a plan say about the fit itself."""

    epochs: int
    batch_size: int

    @classmethod
    def of(cls, params: Mapping[str, ParamValue]) -> "KerasRun":
        """Take epochs (default 20) and batch_size (default 32); SpecError (exit 2) below 1."""
        return cls(_whole(params, "epochs", 20), _whole(params, "batch_size", 32))


class KerasTrainer:
    """Fits `build(params, seed)` of the model's folder; deterministic given the seed.

    With train.workers above 1 as many processes fit it together; see keras_workers.
    """

    def __init__(self, *, cores: int = 1) -> None:
        self._cores = cores

    def fit(
        self, frame: "pd.DataFrame", declared: DeclaredModel, plan: FitPlan | None = None
    ) -> KerasModel:
        """Fit on the declared columns and `label`; errors as in the port.

        SpecError (exit 2) also where the model's input or output does not fit the task, and where
        the loss stops being a number.
        """
        plan = plan or FitPlan.of(declared.spec.train)
        train, columns = declared.spec.train, declared.spec.features.columns
        labels = encode_labels(frame["label"], train)
        refuse_constant(labels, train)
        run = KerasRun.of(plan.params)
        values = model_input(frame, columns).to_numpy(dtype=np.float32)
        targets = as_targets(labels, train.task)
        model = build_keras(declared, plan, values, cores=self._cores)
        file = declared.folder / plan.pipeline.partition(":")[0]
        started = time.perf_counter()
        if train.workers > 1:
            from ferryman.training.keras_workers import fit_together

            history = fit_together(
                model,
                values,
                targets,
                declared,
                plan,
                epochs=run.epochs,
                batch_size=run.batch_size,
                cores=self._cores,
            )
        else:
            history = _fit_alone(model, values, targets, run, file)
        logger.info("fitted %d rows in %.2f s", len(values), time.perf_counter() - started)
        _refuse_divergence(history, values, columns, file)
        check_answers(model, values[:_LOOK_ROWS], train, file)
        return KerasModel(model, columns, train.task, history)


def build_keras(
    declared: DeclaredModel, plan: FitPlan, values: npt.NDArray[np.float32], *, cores: int
) -> Any:
    """The unfitted, compiled model of a plan, seen to fit the task; SpecError (exit 2) if not."""
    keras = prepare_keras(cores=cores, seed=plan.seed)
    model = build_estimator(declared, plan)
    file_name, _, function = plan.pipeline.partition(":")
    file = declared.folder / file_name
    if not isinstance(model, keras.Model) or not model.compiled:
        kind = type(model).__name__
        problem = "which is not compiled" if isinstance(model, keras.Model) else "no keras.Model"
        raise SpecError(
            f"{file}:1: {function} returned {kind}, {problem}",
            remedy="Return a keras.Model after model.compile(optimizer=..., loss=...).",
        )
    _check_shapes(model, len(declared.spec.features.columns), declared.spec.train, file)
    check_answers(model, np.nan_to_num(values[:_LOOK_ROWS]), declared.spec.train, file)
    return model


def ask(model: Any, values: npt.NDArray[np.float32]) -> Predictions:
    """The model's answers, float64 [rows, outputs], a bounded number of rows at a time."""
    parts = [
        np.asarray(model(values[start : start + _ROWS_AT_ONCE], training=False), dtype=np.float64)
        for start in range(0, len(values), _ROWS_AT_ONCE)
    ]
    return np.concatenate(parts) if parts else np.empty((0, int(model.output_shape[-1])))


def as_targets(labels: npt.NDArray[Any], task: Task) -> npt.NDArray[Any]:
    """Encoded labels as losses take them: class places [rows], else float32 [rows, 1]."""
    return labels if task == "multiclass" else labels.astype(np.float32).reshape(-1, 1)


def check_answers(
    model: Any, values: npt.NDArray[np.float32], train: TrainSpec, file: Path
) -> None:
    """Raise SpecError (exit 2) where what should be probabilities are none."""
    if train.task == "regression":
        return
    answers = ask(model, values)
    sums = answers.sum(axis=1) if train.task == "multiclass" else np.ones(len(answers))
    if (answers >= 0).all() and (answers <= 1 + 1e-5).all() and np.allclose(sums, 1, atol=1e-3):
        return
    end = "softmax" if train.task == "multiclass" else "sigmoid"
    raise SpecError(
        f"{file}:1: the model's answers are no probabilities: {np.round(answers[0], 3).tolist()}",
        remedy=f"End a {train.task} model with activation {end!r}, and let the loss take "
        "probabilities (from_logits=False).",
    )


def _fit_alone(
    model: Any,
    values: npt.NDArray[np.float32],
    targets: npt.NDArray[Any],
    run: KerasRun,
    file: Path,
) -> list[dict[str, float]]:
    fitted = blamed_on(
        file,
        lambda: model.fit(values, targets, epochs=run.epochs, batch_size=run.batch_size, verbose=0),
    )
    figures: Mapping[str, Sequence[Any]] = fitted.history
    return [
        {name: float(series[epoch]) for name, series in figures.items()}
        for epoch in range(len(next(iter(figures.values()), ())))
    ]


def _check_shapes(model: Any, features: int, train: TrainSpec, file: Path) -> None:
    outputs = len(train.classes) if train.task == "multiclass" else 1
    names = "one a class" if train.task == "multiclass" else f"a {train.task} task's answer"
    shapes = [tuple(part.shape) for part in (*model.inputs, *model.outputs)] if model.built else []
    if shapes == [(None, features), (None, outputs)]:
        return
    found = " -> ".join(str(list(shape)) for shape in shapes) or "a model without keras.Input"
    raise SpecError(
        f"{file}:1: the model is {found}, and must be [None, {features}] -> [None, {outputs}]",
        remedy=f"Begin with keras.Input(({features},)), the features in their declared order; end "
        f"with {outputs} outputs: {names}.",
    )


def _refuse_divergence(
    history: Sequence[Mapping[str, float]],
    values: npt.NDArray[np.float32],
    columns: Mapping[str, FeatureSpec],
    file: Path,
) -> None:
    """Raise SpecError (exit 2) where the loss stopped being a number, with the likely cause."""
    for epoch, figures in enumerate(history, start=1):
        if math.isfinite(figures.get("loss", 0.0)):
            continue
        empty = [name for place, name in enumerate(columns) if np.isnan(values[:, place]).any()]
        cause = f"; columns with nulls: {', '.join(empty[:10])}" if empty else ""
        raise SpecError(
            f"{file}:1: the loss is {figures['loss']} in epoch {epoch}{cause}",
            remedy="Fill nulls in the features query or in the model, scale the inputs "
            "(Normalization, Rescaling), or lower the learning rate.",
        )


def _whole(params: Mapping[str, ParamValue], name: str, default: int) -> int:
    value = params.get(name, default)
    if isinstance(value, bool | str) or int(value) != value or value < 1:
        raise SpecError(f"train.params.{name} is {value!r}, and must be a whole number above 0")
    return int(value)
