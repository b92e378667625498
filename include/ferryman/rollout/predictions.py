"""Whether a candidate predicts otherwise than the champion: two samples of predictions compared.

Numbers are compared by the distance of Kolmogorov and Smirnov, classes by total variation; both are
the largest difference of the share of one set of predictions, from 0 (alike) to 1.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ferryman.rollout.significance import FAIL, LEAST_ROWS, PASS
from ferryman.runtime.traffic import VariantFigures
from ferryman.spec.metrics import Task

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Predicted:
    """A sample of predictions, one of each answer, and how many answers there were."""

    scores: Floats
    total: int

    @classmethod
    def of(cls, figures: VariantFigures) -> "Predicted":
        """The predictions that some figures hold."""
        scores = np.asarray(figures.scores, dtype=np.float64)
        return cls(scores, max(figures.scored, len(scores)))

    def __len__(self) -> int:
        """How many predictions are in the sample."""
        return len(self.scores)


@dataclass(frozen=True)
class Distance:
    """How far apart two samples are.

    `proven` holds at all looks together; `doubt` is how far the estimate may be off at this one.
    """

    estimate: float
    proven: float
    doubt: float


def distance(candidate: Predicted, champion: Predicted, task: Task) -> Distance:
    """The distance of two samples of LEAST_ROWS finite predictions or more.

    Sources: Massart, The tight constant in the Dvoretzky-Kiefer-Wolfowitz inequality (1990); of
    classes Weissman et al., Inequalities for the L1 deviation of the empirical distribution (2003).
    Both hold for a number of rows; they hold for all numbers together, since the n-th is given
    LEAST_ROWS / n (n + 1) of the significance.
    """
    if task == "multiclass":
        estimate = _total_variation(candidate.scores, champion.scores)
        # What a set of classes may be; the two trivial ones differ by nothing.
        classes = 1 + int(max(candidate.scores.max(), champion.scores.max()))
        sets = (max(classes, 2) - 1) * math.log(2)
    else:
        estimate = _kolmogorov_smirnov(candidate.scores, champion.scores)
        sets = math.log(2)
    off = _always_off(candidate, sets) + _always_off(champion, sets)
    pairs = 1 / len(candidate) + 1 / len(champion)
    doubt = math.sqrt((sets + math.log(1 / PASS)) * pairs / 2)
    return Distance(estimate, max(0.0, estimate - off), doubt)


def on_one_scale(
    candidate: Predicted, champion: Predicted, task: Task
) -> tuple[Predicted, Predicted]:
    """Both with what differs by less than a thousandth of the champion's range made one.

    A model that always says the same still differs in its last digits, by how rows are summed up.
    """
    if task == "multiclass":
        return candidate, champion
    low, high = np.percentile(champion.scores, (5, 95))
    step = float(high - low) / 1000
    if step == 0:
        return candidate, champion
    first, second = (
        Predicted(np.round(sample.scores / step), sample.total) for sample in (candidate, champion)
    )
    return first, second


def distinct(scores: Floats) -> int:
    """How many different predictions there are."""
    return len(np.unique(scores))


def chance_of_so_few(champion: Predicted, kinds: int, rows: int) -> float:
    """How probable it is that the champion shows `kinds` different predictions in so many rows.

    An upper bound: of its likeliest predictions, with the upper end of their share.
    """
    _, counts = np.unique(champion.scores, return_counts=True)
    if len(counts) <= kinds:
        return 1.0
    share = float(np.sort(counts)[-kinds:].sum()) / len(champion)
    share = min(1.0, share + math.sqrt(math.log(1 / FAIL) / (2 * len(champion))))
    return min(1.0, math.comb(len(counts), kinds) * share**rows)


def _always_off(sample: Predicted, sets: float) -> float:
    """How far the shares of a sample are off, at all looks together, with half of FAIL."""
    spent = math.log(sample.total * (sample.total + 1) / (LEAST_ROWS * FAIL / 2))
    return math.sqrt((sets + spent) / (2 * len(sample)))


def _kolmogorov_smirnov(first: Floats, second: Floats) -> float:
    first, second = np.sort(first), np.sort(second)
    places = np.concatenate([first, second])
    below_first = np.searchsorted(first, places, side="right") / len(first)
    below_second = np.searchsorted(second, places, side="right") / len(second)
    return float(np.abs(below_first - below_second).max())


def _total_variation(first: Floats, second: Floats) -> float:
    classes, places = np.unique(np.concatenate([first, second]), return_inverse=True)
    shares = np.bincount(places[: len(first)], minlength=len(classes)) / len(first)
    others = np.bincount(places[len(first) :], minlength=len(classes)) / len(second)
    return float(np.abs(shares - others).sum() / 2)


def all_finite(scores: Sequence[float]) -> bool:
    """Whether every prediction is a finite number."""
    return bool(np.isfinite(np.asarray(scores, dtype=np.float64)).all())
