"""How the score grows with the training rows, and what that says of the fit."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ferryman.evaluation.fit_diagnosis import Diagnosis, Draws, Fitted, diagnose
from ferryman.evaluation.intervals import Interval, bootstrap
from ferryman.evaluation.measures import Measures
from ferryman.evaluation.metrics import Floats
from ferryman.evaluation.risk import Fit, representatives
from ferryman.spec.metrics import Task

if TYPE_CHECKING:
    import pandas as pd

_FIRST_SHARE = 0.05
_FEWEST_ROWS = 10


@dataclass(frozen=True)
class CurvePoint:
    """The metric of a fit on so many rows: on these rows, and on the evaluation rows."""

    rows: int
    train: float | None
    train_interval: Interval | None
    evaluation: float | None
    evaluation_interval: Interval | None


@dataclass(frozen=True)
class LearningCurve:
    """The metric by training rows, fewest first, and what is wrong with the last fit, if so."""

    metric: str
    points: tuple[CurvePoint, ...]
    diagnosis: Diagnosis

    @property
    def text(self) -> str:
        """The verdict with its reason."""
        return self.diagnosis.text

    def as_json(self) -> dict[str, Any]:
        """The fields by name; an interval is {low, high}."""
        return asdict(self)


def learning_curve(  # noqa: PLR0913 - the rows, and settings by keyword
    fit: Fit,
    train: "pd.DataFrame",
    evaluation: "pd.DataFrame",
    measures: Measures,
    *,
    train_labels: npt.NDArray[Any],
    labels: npt.NDArray[Any],
    task: Task,
    metric: str,
    features: Sequence[str],
    points: int,
    refit_rows: int,
    confidence: float = 0.95,
    resamples: int = 500,
    seed: int = 0,
) -> LearningCurve:
    """Fit on `points` parts of at most `refit_rows` training rows, and tell how good the fit is.

    `fit` as in `measure_risk`; `train_labels` and `labels` are those of the training and of the
    evaluation rows, encoded. Sizes grow by equal ratios, from a twentieth of the rows. Errors of
    `fit` are passed on. Raises ValueError for no points or no rows.
    """
    if points < 1 or not len(train) or not len(evaluation):
        raise ValueError("a learning curve needs a point, a training and an evaluation row")
    order = np.random.default_rng(seed).permutation(len(train))
    firsts = representatives(train["label"], order)
    order = np.concatenate([firsts, order[~np.isin(order, firsts)]])[: max(refit_rows, len(firsts))]
    parts = [order[:size] for size in _sizes(len(order), len(firsts), points)]
    draws = Draws(confidence, resamples, seed)
    fitted = []
    for places in parts:
        rows = train.iloc[places]
        predict = fit(rows)
        fitted.append(Fitted(train_labels[places], predict(rows), labels, predict(evaluation)))
    found = tuple(_point(one, measures, metric, draws) for one in fitted)
    return LearningCurve(metric, found, diagnose(fitted, evaluation[list(features)], task, draws))


def _sizes(rows: int, least: int, points: int) -> list[int]:
    first = min(rows, max(least, _FEWEST_ROWS, int(rows * _FIRST_SHARE)))
    sizes = np.geomspace(first, rows, points).round().astype(np.int64) if points > 1 else [rows]
    return sorted({int(size) for size in sizes})


def _point(fitted: Fitted, measures: Measures, metric: str, draws: Draws) -> CurvePoint:
    def scored(labels: npt.NDArray[Any], answers: Floats) -> tuple[float | None, Interval | None]:
        interval = bootstrap(
            measures,
            labels,
            answers,
            metrics=[metric],
            confidence=draws.confidence,
            resamples=draws.resamples,
            seed=draws.seed,
        )
        score = measures.score(labels, answers)[metric]
        return score, interval[metric]

    return CurvePoint(
        len(fitted.train_labels),
        *scored(fitted.train_labels, fitted.train_answers),
        *scored(fitted.labels, fitted.answers),
    )
