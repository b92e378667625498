"""Judges slices of the served answers: which are worse than they were, beyond chance and tolerance.

Many slices are looked at each night, and of many some look bad by chance. So a slice is "worse"
only where Holm's procedure over all slices of the night says so: the chance that any slice that is
no worse is called so is at most the declared rate. The rows of a day are alike, so the error of a
slice's figure is at least that of its days left out one by one (jackknife; Efron and Tibshirani
1993, chapter 11).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit  # Student's distribution, without a wrapper's cost

Floats = NDArray[np.float64]
# A metric in several weightings of the same rows: counts [weightings, rows] to [weightings].
Weighted = Callable[[Floats], Floats]
Outcome = Literal["ok", "worse", "not_enough_labels"]
_LEAST_DAYS = 4
_CONFIDENCE = 0.95


@dataclass(frozen=True)
class Figure:
    """A metric of some rows, its standard error and the error's degrees of freedom."""

    value: float
    error: float
    freedom: int

    def interval(self) -> tuple[float, float]:
        """Where the figure lies with 95 % confidence, for this slice by itself."""
        reach = float(stdtrit(self.freedom, (1 + _CONFIDENCE) / 2)) * self.error
        return self.value - reach, self.value + reach


@dataclass(frozen=True)
class SliceLook:
    """A slice before it is judged.

    n, labelled: its answers, and those with a label; now: its figure, None where there are too few
    labels or the metric does not exist on them; before: in the champion's evaluation.
    """

    column: str
    value: str
    n: int
    labelled: int
    now: Figure | None
    before: Figure | None


@dataclass(frozen=True)
class GroupFinding:
    """What is said of a slice, a group, or the gap between groups; None where nothing can be."""

    column: str
    value: str
    n: int
    labelled: int
    metric: str
    figure: float | None
    low: float | None
    high: float | None
    outcome: Outcome
    text: str
    before: float | None = None
    p_value: float | None = None

    def as_json(self) -> dict[str, Any]:
        """{column, value, n, labelled, metric, figure, low, high, outcome, text, before, p_value}.

        `value` is the slice's, `figure` the metric's.
        """
        return asdict(self)


def figure(weighted: Weighted, days: NDArray[np.int64], errors: Floats) -> Figure | None:
    """The metric of rows with its error: the larger of that of rows and that of days.

    days: the day of each row; errors: the metric in resamples of the rows, NaN where it does not
    exist. None where it does not exist on the rows, or in one resample of twenty.
    """
    rows = len(days)
    if not rows:
        return None
    value = float(weighted(np.ones((1, rows)))[0])
    there = errors[np.isfinite(errors)]
    if not math.isfinite(value) or len(there) < 0.95 * len(errors):
        return None
    by_row = float(there.std(ddof=1))
    names, places = np.unique(days, return_inverse=True)
    if len(names) < _LEAST_DAYS:
        return Figure(value, by_row, max(1, rows - 1))
    left = weighted((places[None, :] != np.arange(len(names))[:, None]).astype(np.float64))
    left = left[np.isfinite(left)]
    if len(left) < _LEAST_DAYS:
        return Figure(value, by_row, max(1, rows - 1))
    by_day = math.sqrt((len(left) - 1) * float(np.mean((left - left.mean()) ** 2)))
    if by_day <= by_row:
        return Figure(value, by_row, max(1, rows - 1))
    return Figure(value, by_day, len(left) - 1)


@dataclass(frozen=True)
class SliceRule:
    """How slices are judged: by which metric, what is normal, and how rarely to err."""

    metric: str
    lower_is_better: bool
    tolerance: float
    significance: float
    least: int


def judge_slices(looks: Sequence[SliceLook], rule: SliceRule) -> list[GroupFinding]:
    """Which slices are worse than before by more than the tolerance, in the order of the looks."""
    p_values = [_p_value(look, rule) for look in looks]
    tested = [place for place, p_value in enumerate(p_values) if p_value is not None]
    worse = holm([p_values[place] or 0.0 for place in tested], rule.significance)
    shown = {place for place, found in zip(tested, worse, strict=True) if found}
    found = []
    for place, (look, p_value) in enumerate(zip(looks, p_values, strict=True)):
        outcome: Outcome = "ok" if look.now else "not_enough_labels"
        if place in shown:
            outcome = "worse"
        low, high = look.now.interval() if look.now else (None, None)
        found.append(
            GroupFinding(
                column=look.column,
                value=look.value,
                n=look.n,
                labelled=look.labelled,
                metric=rule.metric,
                figure=look.now.value if look.now else None,
                low=low,
                high=high,
                outcome=outcome,
                text=f"{look.column} {look.value}: {_words(look, rule, outcome, len(tested))}",
                before=look.before.value if look.before else None,
                p_value=p_value,
            )
        )
    return found


def holm(p_values: Sequence[float], significance: float) -> list[bool]:
    """Which hypotheses Holm's procedure (1979) rejects: any wrongly in `significance` of cases."""
    found = [False] * len(p_values)
    order = sorted(range(len(p_values)), key=lambda place: p_values[place])
    for passed, place in enumerate(order):
        if p_values[place] > significance / (len(p_values) - passed):
            break
        found[place] = True
    return found


def _p_value(look: SliceLook, rule: SliceRule) -> float | None:
    """The chance of a figure like this where the slice is worse by the tolerance at most."""
    if look.now is None or look.before is None:
        return None
    worsening = look.now.value - look.before.value
    worsening = worsening if rule.lower_is_better else -worsening
    error = math.hypot(look.now.error, look.before.error)
    if error == 0:
        return 0.0 if worsening > rule.tolerance else 1.0
    # Welch's degrees of freedom.
    freedom = error**4 / (
        look.now.error**4 / look.now.freedom + look.before.error**4 / look.before.freedom
    )
    return float(stdtr(freedom, (rule.tolerance - worsening) / error))


def _words(look: SliceLook, rule: SliceRule, outcome: Outcome, family: int) -> str:
    if look.labelled < rule.least:
        return f"not enough labels (n={look.labelled} < {rule.least})"
    if look.now is None:
        return f"{rule.metric} cannot be had from {look.labelled} labels"
    shown = f"{rule.metric} {look.now.value:.4f} on {look.labelled} labels"
    if look.before is None:
        return f"{shown}; the champion's evaluation has no figure to compare with"
    if outcome == "worse":
        before = f"worse than {look.before.value:.4f} in the champion's evaluation"
        return (
            f"{shown}, {before} by more than {rule.tolerance:g}, beyond chance in {family} slices"
        )
    return f"{shown}, {look.before.value:.4f} in the champion's evaluation"
