"""Judges slices of the served answers: which are worse than they were, beyond chance and tolerance.

Many slices are looked at each night, and of many some look bad by chance. So a slice is "worse"
only where Holm's procedure over all slices of the night says so: the chance that any slice that is
no worse is called so is at most the declared rate. The rows of a day are alike, so the error of a
slice's figure is at least that of its days left out one by one (jackknife; Efron and Tibshirani
1993, chapter 11). That alone is blind to what is bad on a few days only, and sees every slice where
all answers become worse; so each day's gap to the other rows counts too (see recent_slices).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit  # Student's distribution, without a wrapper's cost

from ferryman.monitoring.recent_slices import Recent, Worsening

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
    labels or the metric does not exist on them; before: in the champion's evaluation; recent: what
    its days say beside the other rows of the same days.
    """

    column: str
    value: str
    n: int
    labelled: int
    now: Figure | None
    before: Figure | None
    recent: Recent = field(default_factory=Recent)


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
    recent: Worsening | None = None

    def as_json(self) -> dict[str, Any]:
        """Its fields by name; `value` is the slice's, `figure` the metric's.

        recent: {days, gap, gap_before, p_value}, null where its days are no reason for `worse`.
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
    """Which slices are worse than before by more than the tolerance, in the order of the looks.

    All tests are one family: a slice's figure against its evaluation, and what its days say.
    """
    tests: list[tuple[int, float, Worsening | None]] = []
    for place, look in enumerate(looks):
        p_value = _p_value(look, rule)
        if p_value is not None:
            tests.append((place, p_value, None))
        if look.now is not None:
            tests += [(place, one.p_value, one) for one in look.recent.found]
    shown = holm([p_value for _, p_value, _ in tests], rule.significance)
    family = len({place for place, _, _ in tests})
    surest: dict[int, float] = {}
    reasons: dict[int, list[Worsening | None]] = {}
    for (place, p_value, reason), beyond in zip(tests, shown, strict=True):
        surest[place] = min(p_value, surest.get(place, 1.0))
        if beyond and (reason is not None or not looks[place].recent.shared):
            reasons.setdefault(place, []).append(reason)
    return [
        _finding(look, rule, reasons.get(place, []), surest.get(place), family)
        for place, look in enumerate(looks)
    ]


def _finding(
    look: SliceLook,
    rule: SliceRule,
    reasons: Sequence[Worsening | None],
    p_value: float | None,
    family: int,
) -> GroupFinding:
    outcome: Outcome = "ok" if look.now else "not_enough_labels"
    if reasons:
        outcome = "worse"
    # What the whole window shows is said first.
    days = [one for one in reasons if one is not None]
    recent = min(days, key=lambda one: one.p_value) if days and None not in reasons else None
    low, high = look.now.interval() if look.now else (None, None)
    return GroupFinding(
        column=look.column,
        value=look.value,
        n=look.n,
        labelled=look.labelled,
        metric=rule.metric,
        figure=look.now.value if look.now else None,
        low=low,
        high=high,
        outcome=outcome,
        text=f"{look.column} {look.value}: {_words(look, rule, outcome, recent, family)}",
        before=look.before.value if look.before else None,
        p_value=p_value,
        recent=recent,
    )


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


def _words(
    look: SliceLook, rule: SliceRule, outcome: Outcome, recent: Worsening | None, family: int
) -> str:
    if look.labelled < rule.least:
        return f"not enough labels (n={look.labelled} < {rule.least})"
    if look.now is None:
        return f"{rule.metric} cannot be had from {look.labelled} labels"
    shown = f"{rule.metric} {look.now.value:.4f} on {look.labelled} labels"
    beyond = f"beyond chance in {family} slices"
    if recent is not None:
        return (
            f"{shown}; worse on its newest {recent.days} days, by {recent.gap:+.4f} {recent.unit} "
            f"against the other rows of these days, {recent.gap_before:+.4f} before, {beyond}"
        )
    if look.before is None:
        return f"{shown}; the champion's evaluation has no figure to compare with"
    if outcome == "worse":
        before = f"worse than {look.before.value:.4f} in the champion's evaluation"
        return f"{shown}, {before} by more than {rule.tolerance:g}, {beyond}"
    alike = ", and the other rows are as much worse" if look.recent.shared else ""
    return f"{shown}, {look.before.value:.4f} in the champion's evaluation{alike}"
