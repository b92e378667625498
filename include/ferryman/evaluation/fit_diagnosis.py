"""What a fit's errors say of it: under-fitting, over-fitting, too few rows, or a good fit.

Errors are squared losses (of probabilities the Brier score), as a share of a constant answer's: 0
is perfect, 1 is no better than the constant. Four things are looked at:

- the gap: how much larger the share is on the evaluation rows than on the fitted ones;
- the level: whether even the fitted rows are answered no better than by the constant;
- what is left: whether another kind of model, extremely randomised trees (Geurts et al. 2006), can
  tell the errors on the evaluation rows from the features, so that this kind misses something;
- the gain: how much of the errors more rows would take away, if the last rows are a sign.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from ferryman.evaluation.intervals import draw, percentile_interval
from ferryman.evaluation.metrics import Floats
from ferryman.evaluation.risk import as_numbers, squared_losses
from ferryman.evaluation.rivals import constant_answer
from ferryman.spec.metrics import Task

if TYPE_CHECKING:
    import pandas as pd

Verdict = Literal[
    "under-fitting", "over-fitting", "more rows would help", "good fit", "not enough data"
]

# Shares of a constant answer's loss: a gap below this is no fault, a level above this no merit.
_GAP = 0.1
_NO_BETTER = 0.98
# Shares of the loss that is there: what trees must tell of it, what ever more rows must gain.
_LEFT = 0.05
_GAIN = 0.04
# The share of a gap that more rows must close, to be what is missing: errors that come of too few
# rows are about half of it, since the fitted rows are answered better by as much.
_CLOSED = 0.25
_LEAST_ROWS = 30
_LEAST_ROWS_LEFT = 200
_MOST_ROWS_LEFT = 5000


@dataclass(frozen=True)
class Finding:
    """A figure of the diagnosis with its interval."""

    estimate: float
    low: float
    high: float

    @property
    def text(self) -> str:
        """The figure and its interval."""
        return f"{self.estimate:.3g} in [{self.low:.3g}, {self.high:.3g}]"


@dataclass(frozen=True)
class Fitted:
    """Labels and answers of the rows that were fitted and of the evaluation rows.

    Labels encoded, answers in the shape of the task; the evaluation rows are the same for all fits.
    """

    train_labels: npt.NDArray[Any]
    train_answers: Floats
    labels: npt.NDArray[Any]
    answers: Floats

    @property
    def finite(self) -> bool:
        """Whether every answer is a number."""
        return bool(np.isfinite(self.train_answers).all() and np.isfinite(self.answers).all())


@dataclass(frozen=True)
class Diagnosis:
    """The verdict on the fit with the most rows, and the figures that it rests on.

    train_level and evaluation_level: squared loss on the fitted and on the evaluation rows, as a
    share of a constant answer's; gap: the second less the first. gain: share of the loss that ever
    more rows would take away, by what the last ones took. left: share of the squared errors that
    trees can tell from the features. None where it could not be measured.
    """

    verdict: Verdict
    reason: str
    train_level: float | None = None
    evaluation_level: float | None = None
    gap: Finding | None = None
    gain: Finding | None = None
    left: Finding | None = None

    @property
    def text(self) -> str:
        """The verdict with its reason."""
        return f"{self.verdict}: {self.reason}"


@dataclass(frozen=True)
class Draws:
    """How intervals are drawn."""

    confidence: float = 0.95
    resamples: int = 500
    seed: int = 0


def diagnose(
    fitted: Sequence[Fitted], features: "pd.DataFrame", task: Task, draws: Draws
) -> Diagnosis:
    """Judge the last of the fits, which had ever more rows; `features` are of the evaluation rows.

    Fewer than 30 training or evaluation rows are not enough data; what is left is looked for on at
    least 200 evaluation rows, at most 5000.
    """
    last = fitted[-1]
    train_rows, rows = len(last.train_labels), len(last.labels)
    if min(train_rows, rows) < _LEAST_ROWS:
        return Diagnosis("not enough data", f"{train_rows} training and {rows} evaluation rows")
    if not all(one.finite for one in fitted):
        return Diagnosis("not enough data", "some answers are no numbers")
    seen, unseen = _losses(last, task)
    drawn = _ratio(_drawn(unseen, draws)) - _ratio(_drawn(seen, draws))
    if not np.isfinite(drawn).any():
        return Diagnosis("not enough data", "a constant answer has no error on these rows")
    train_level, level = (float(part[0].mean() / part[1].mean()) for part in (seen, unseen))
    gap = _finding(level - train_level, drawn, draws)
    if gap is None:
        return Diagnosis("not enough data", "a constant answer has hardly an error on these rows")
    gain = _gain(fitted, task, draws)
    left = _left(last, features, task, draws)
    verdict, reason = _verdict(train_level, level, gap, gain, left)
    return Diagnosis(verdict, reason, train_level, level, gap, gain, left)


def _losses(fitted: Fitted, task: Task) -> tuple[Floats, Floats]:
    """Losses of the fit and of the constant, [2, rows], on the fitted and the evaluation rows."""
    classes = fitted.answers.shape[-1]
    found = []
    for labels, answers in (
        (fitted.train_labels, fitted.train_answers),
        (fitted.labels, fitted.answers),
    ):
        constant = constant_answer(task, classes, fitted.train_labels, len(labels))
        found.append([squared_losses(labels, given, task) for given in (answers, constant)])
    return np.stack(found[0]), np.stack(found[1])


def _verdict(
    train_level: float, level: float, gap: Finding, gain: Finding | None, left: Finding | None
) -> tuple[Verdict, str]:
    falling = gain is not None and gain.low > 0 and gain.estimate > _GAIN
    gained = f"more rows would take away {gain.text} of it, by what the last took" if gain else ""
    told = f"the loss is {level:.3g} of a constant answer's"
    # Where the fitted rows are answered far better, a smaller gap of a good model counts too.
    if gap.low > _GAP or (gap.low > _GAP / 2 and train_level < level / 2):
        apart = f"{told}, and {gap.text} less on the fitted rows"
        if gain and falling and level < 1 and gain.estimate * level > _CLOSED * gap.estimate:
            return "more rows would help", f"{apart}; {gained}"
        return "over-fitting", apart
    if max(train_level, level) > _NO_BETTER:
        return "under-fitting", (
            f"{told}, and {train_level:.3g} on the fitted rows; if not the model, then the "
            "features say too little"
        )
    # Errors that come of too few rows can be told from the features as well.
    by_rows = max(0.0, gain.high) if gain else 0.0
    if left is not None and left.low > max(_LEFT, by_rows):
        return "under-fitting", (
            f"{told}; trees can tell {left.text} of the squared errors from the features"
        )
    if falling:
        return "more rows would help", f"{told}; {gained}"
    return "good fit", f"{told}, about the same on the fitted rows (gap {gap.text})"


def _gain(fitted: Sequence[Fitted], task: Task, draws: Draws) -> Finding | None:
    """What more rows would bring, from the last fit and that on half of its rows, or fewer."""
    last = fitted[-1]
    rows = len(last.train_labels)
    earlier = [one for one in fitted if 2 * len(one.train_labels) <= rows + 1]
    if not earlier:
        return None
    losses = np.stack(
        [squared_losses(one.labels, one.answers, task) for one in (earlier[-1], last)]
    )
    if not losses[1].sum() > 0:
        return None
    # If the error that few rows cause falls as 1 / rows, then with r times the rows of the earlier
    # fit the last one has lost r - 1 times what it may still lose.
    lost = rows / len(earlier[-1].train_labels) - 1
    estimate = float(losses[0].mean() / losses[1].mean() - 1) / lost
    return _finding(estimate, (_ratio(_drawn(losses, draws)) - 1) / lost, draws)


def _left(last: Fitted, features: "pd.DataFrame", task: Task, draws: Draws) -> Finding | None:
    """The share of the squared errors on the evaluation rows that trees find in the features.

    Each row is answered by trees that did not see it (out of bag). The errors' mean does not count:
    a level that moved with time is no lack of the model's kind.
    """
    from sklearn.ensemble import ExtraTreesRegressor

    if len(last.labels) < _LEAST_ROWS_LEFT:
        return None
    places = np.random.default_rng(draws.seed).permutation(len(last.labels))[:_MOST_ROWS_LEFT]
    truth = as_numbers(last.labels, task, last.answers.shape[-1])
    errors = (truth - last.answers)[places]
    errors = (errors - errors.mean(axis=0)).reshape(len(places), -1)
    total = (errors**2).sum(axis=1)
    if not total.sum() > 0:
        return None
    trees = ExtraTreesRegressor(
        100, min_samples_leaf=10, bootstrap=True, oob_score=True, random_state=draws.seed
    )
    trees.fit(_coded(features.iloc[places]), errors if errors.shape[1] > 1 else errors[:, 0])
    answered = np.asarray(trees.oob_prediction_).reshape(errors.shape)
    losses = np.stack([((errors - answered) ** 2).sum(axis=1), total])
    estimate = 1 - float(losses[0].sum() / losses[1].sum())
    return _finding(estimate, 1 - _ratio(_drawn(losses, draws)), draws)


def _coded(features: "pd.DataFrame") -> Floats:
    """The features as numbers: a category as its place by name, what is missing as NaN."""
    from pandas.api.types import is_numeric_dtype

    columns = []
    for name in features:
        values = features[name]
        if not is_numeric_dtype(values):
            codes = values.astype("string").astype("category").cat.codes
            values = codes.where(codes >= 0)
        numbers = values.to_numpy(dtype=np.float64, na_value=np.nan)
        columns.append(np.where(np.isfinite(numbers), numbers, np.nan))
    return np.stack(columns, axis=1)


def _drawn(losses: Floats, draws: Draws) -> Floats:
    """Both sums of losses [2, rows] in each resample, [resamples, 2]."""
    counted = [counts @ losses.T for counts in draw(losses.shape[1], draws.resamples, draws.seed)]
    return np.concatenate(counted)


def _ratio(drawn: Floats) -> Floats:
    found = np.full(len(drawn), np.nan)
    np.divide(drawn[:, 0], drawn[:, 1], out=found, where=drawn[:, 1] > 0)
    return found


def _finding(estimate: float, drawn: Floats, draws: Draws) -> Finding | None:
    interval = percentile_interval(drawn, draws.confidence)
    return None if interval is None else Finding(estimate, interval.low, interval.high)
