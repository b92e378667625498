"""What the error of a model is made of: bias, variance and noise of its expected squared loss.

The model is fitted again on bootstrap samples of the training rows. For a row x with truth y, the
mean of the refits' squared errors is

    mean (f(x) - y)^2  =  (m(x) - y)^2  +  mean (f(x) - m(x))^2,      m(x) the refits' mean answer

The last term is variance: what another sample of rows would change. The first holds bias (what this
kind of model cannot say) and noise (what nobody could know from x), and a row alone cannot tell the
two apart; rows with equal features and different truths can. Sources: Geman, Bienenstock and
Doursat 1992, "Neural Networks and the Bias/Variance Dilemma"; Domingos 2000, "A Unified
Bias-Variance Decomposition"; repeated rows as in the lack-of-fit test of linear regression.

The refits draw from one training sample. Where each takes about as many rows as there are, what is
peculiar to that sample is in all of them, and counts as bias; where there are many more rows than
a refit takes, the refits are as good as independent.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ferryman.evaluation.behaviour import Predict
from ferryman.evaluation.class_counts import one_hot
from ferryman.evaluation.intervals import Interval, draw, percentile_interval
from ferryman.evaluation.metrics import Floats
from ferryman.spec.metrics import Task

if TYPE_CHECKING:
    import pandas as pd

Fit = Callable[["pd.DataFrame"], Predict]

# Noise that is measured on fewer of the rows than this says little of the others.
_LEAST_REPEATED = 0.5
# Refits that take more of the training rows than this have much in common.
_SHARED = 0.2
_DRAWS = 1000
_TRIES = 10


@dataclass(frozen=True)
class RiskResult:
    """The expected squared loss and its parts, which sum to it; means over the evaluation rows.

    loss: "squared error", or of probabilities "Brier score" (with classes the sum over them).
    bias and noise: None where they cannot be told apart; `bias_and_noise` is always there. `bias`
    is the squared bias. repeated: share of the evaluation rows that have a twin of equal features.
    intervals: of expected, bias_and_noise and variance over the evaluation rows, for these refits.
    `refits` models were fitted, each on `fitted_rows` rows drawn from `training_rows`.
    """

    loss: str
    expected: float
    bias_and_noise: float
    variance: float
    bias: float | None
    noise: float | None
    repeated: float
    rows: int
    refits: int
    fitted_rows: int
    training_rows: int
    intervals: dict[str, Interval | None] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """What the figures say, and what they cannot say."""
        twins = f"{self.repeated:.0%} of the rows have a twin of equal features"
        parts = f"bias and noise together {self.bias_and_noise:.4g}"
        if self.noise is None or self.bias is None:
            parts += f", which cannot be told apart: {twins}"
        else:
            parts = f"bias {self.bias:.4g}, noise {self.noise:.4g}: {twins}"
        if self.fitted_rows > _SHARED * self.training_rows:
            parts += "; bias also holds the luck of the one training sample"
        return f"expected {self.loss} {self.expected:.4g} is variance {self.variance:.4g}, {parts}"

    def as_json(self) -> dict[str, Any]:
        """The fields by name, and the text; an interval is {low, high}."""
        return {**asdict(self), "text": self.text}


def measure_risk(  # noqa: PLR0913 - the rows, and settings by keyword
    fit: Fit,
    train: "pd.DataFrame",
    evaluation: "pd.DataFrame",
    labels: npt.NDArray[Any],
    *,
    task: Task,
    features: Sequence[str],
    resamples: int,
    refit_rows: int,
    confidence: float = 0.95,
    seed: int = 0,
) -> RiskResult:
    """Fit `resamples` (at least 2) times and part the loss on the evaluation rows.

    `fit` takes training rows with their column `label` and gives a function that answers rows;
    `labels` are those of the evaluation rows, encoded. A fit gets as many rows as there are, at
    most `refit_rows`, drawn with replacement from all. Errors of `fit` are passed on. Raises
    ValueError for fewer than 2 refits, no rows, or answers that are no finite numbers.
    """
    if resamples < 2 or not len(train) or not len(evaluation):
        raise ValueError("variance needs at least 2 refits, a training and an evaluation row")
    size = min(len(train), refit_rows)
    generator = np.random.default_rng(seed)
    answers = []
    for _ in range(resamples):
        predict = fit(train.iloc[_sample(train["label"], size, generator)])
        answers.append(predict(evaluation))
    given = np.stack(answers).astype(np.float64)  # [refits, rows] or [refits, rows, classes]
    if not np.isfinite(given).all():
        raise ValueError("a refit's answer is no finite number")
    truth = as_numbers(labels, task, given.shape[-1])
    spread, rest = _parts(given, truth)
    rows = np.stack([spread + rest, rest, spread], axis=1)
    expected, bias_and_noise, variance = rows.mean(axis=0).tolist()
    found, repeated = _noise(truth, evaluation[list(features)])
    # Squared bias cannot be negative: chance may let the twins differ more than the residuals.
    noise = None if found is None else min(found, bias_and_noise)
    return RiskResult(
        loss="squared error" if task == "regression" else "Brier score",
        expected=expected,
        bias_and_noise=bias_and_noise,
        variance=variance,
        bias=None if noise is None else bias_and_noise - noise,
        noise=noise,
        repeated=repeated,
        rows=len(evaluation),
        refits=resamples,
        fitted_rows=size,
        training_rows=len(train),
        intervals=_intervals(rows, confidence, seed),
    )


def _parts(given: Floats, truth: Floats) -> tuple[Floats, Floats]:
    """Variance, and squared bias with noise, of each row; they sum to the mean squared error."""
    refits = len(given)
    centre = given.mean(axis=0)
    spread = _over_classes(((given - centre) ** 2).mean(axis=0))
    rest = _over_classes((centre - truth) ** 2)
    # The mean of few refits wavers too: the share of the variance that stands with the bias moves.
    moved = np.minimum(spread / (refits - 1), rest)
    return spread + moved, rest - moved


def squared_losses(labels: npt.NDArray[Any], predictions: Floats, task: Task) -> Floats:
    """The squared loss of each row, [rows]; with classes the sum over them."""
    return _over_classes((predictions - as_numbers(labels, task, predictions.shape[-1])) ** 2)


def _over_classes(values: Floats) -> Floats:
    return np.asarray(values if values.ndim == 1 else values.sum(axis=1), dtype=np.float64)


def as_numbers(labels: npt.NDArray[Any], task: Task, classes: int) -> Floats:
    """The truth in the shape of the answers: 0 and 1 for what happened, a 1 in its class's column.

    Regressions have the numbers themselves.
    """
    if task == "multiclass":
        return one_hot(labels.astype(np.int64), classes)
    return labels.astype(np.float64)


def _noise(truth: Floats, features: "pd.DataFrame") -> tuple[float | None, float]:
    """The variance of the truth among rows of equal features, and the share of rows with a twin."""
    columns = list(features.columns)
    groups = features.groupby(columns, dropna=False, sort=False, observed=True).ngroup().to_numpy()
    sizes = np.bincount(groups)
    twins = sizes[groups] > 1
    repeated = float(twins.mean())
    if repeated < _LEAST_REPEATED:
        return None, repeated
    flat = truth.reshape(len(truth), -1)
    means = np.stack([np.bincount(groups, column) for column in flat.T], axis=1) / sizes[:, None]
    squares = ((flat - means[groups]) ** 2).sum(axis=1)
    freedom = (sizes[sizes > 1] - 1).sum()
    return float(squares[twins].sum() / freedom), repeated


def representatives(labels: "pd.Series[Any]", order: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The first place in `order` of each class, or of two numbers: fewer rows cannot be fitted."""
    codes = labels.factorize()[0][order]
    firsts = np.sort(np.unique(codes, return_index=True)[1])
    return np.asarray(order[firsts[:2] if labels.dtype.kind == "f" else firsts])


def _sample(
    labels: "pd.Series[Any]", size: int, generator: np.random.Generator
) -> npt.NDArray[Any]:
    """Places drawn with replacement, such that every class (of numbers at least two) is there."""
    order = generator.permutation(len(labels))
    needed = representatives(labels, order)[:size]
    codes = labels.factorize()[0]
    drawn = generator.integers(0, len(codes), size)
    for _ in range(_TRIES):
        if len(np.unique(codes[drawn])) >= len(needed):
            return drawn
        drawn = generator.integers(0, len(codes), size)
    # Rare classes: one row of each, so that the model can be fitted at all.
    drawn[: len(needed)] = needed
    return drawn


def _intervals(rows: Floats, confidence: float, seed: int) -> dict[str, Interval | None]:
    names = ("expected", "bias_and_noise", "variance")
    drawn = np.concatenate([counts @ rows for counts in draw(len(rows), _DRAWS, seed)]) / len(rows)
    return {
        name: percentile_interval(drawn[:, place], confidence) for place, name in enumerate(names)
    }
