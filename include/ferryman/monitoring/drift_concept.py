"""Whether labels still follow from scores as they did: residuals by day, over all and by score.

A residual is the label less its score. Its mean on a day, and the means in each quarter of the
scores, make up a calibration curve of that day; days are the unit, since the rows of a day are
alike. The effect is in standard deviations of a residual.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

Floats = NDArray[np.float64]
Days = NDArray[np.int64]
_QUARTERS = 4
_LEAST_ROWS = 30  # labelled rows of a day that counts
_LEAST_DAYS = 4


@dataclass(frozen=True)
class Residuals:
    """Labelled answers of the champion: each row's day [rows], score and residual."""

    days: Days
    scores: Floats
    residuals: Floats


@dataclass(frozen=True)
class ConceptDrift:
    """How residuals have changed; outcome: `judged`, or why it is not."""

    outcome: str
    effect: float | None = None
    p_value: float | None = None
    text: str = ""


def compare_residuals(labelled: Residuals, current: Days, least: float = 0.0) -> ConceptDrift:
    """Compare the residuals of the days in `current` with those of all others.

    `least`: the effect from which on it matters; the surest of such changes is told.
    """
    days, rows = np.unique(labelled.days, return_counts=True)
    days = days[rows >= _LEAST_ROWS]
    ours, theirs = days[np.isin(days, current)], days[~np.isin(days, current)]
    if not len(ours):
        return ConceptDrift("not_enough_labels" if len(labelled.days) else "no_rows")
    if len(theirs) < _LEAST_DAYS:
        return ConceptDrift("no_reference")
    spread = float(labelled.residuals.std())
    if spread <= 1e-12:
        return ConceptDrift("judged", effect=0.0, p_value=1.0, text="no residual varies")
    edges = np.quantile(labelled.scores, np.arange(1, _QUARTERS) / _QUARTERS)
    quarters = np.searchsorted(np.unique(edges), labelled.scores, side="right")
    groups = [np.ones(len(quarters), dtype=bool)]
    groups += [quarters == place for place in range(int(quarters.max()) + 1)]
    changes = [_change(labelled, group, ours, theirs) for group in groups]
    judged = [change for change in changes if change is not None]
    if not judged:
        return ConceptDrift("not_enough_labels")
    p_values = np.asarray([p_value for _, p_value in judged])
    effects = np.asarray([abs(change) / spread for change, _ in judged])
    # The surest of those that are large enough to be told.
    large = effects >= least
    most = int(np.argmin(np.where(large, p_values, 2.0)) if large.any() else np.argmax(effects))
    where = "" if most == 0 else " in a quarter of the scores"
    return ConceptDrift(
        "judged",
        effect=float(effects[most]),
        p_value=float(min(1.0, p_values[most] * len(p_values))),
        text=f"labels less scores have changed by {judged[most][0]:+.4g} on average{where}",
    )


def _change(
    labelled: Residuals, group: NDArray[np.bool_], ours: Days, theirs: Days
) -> tuple[float, float] | None:
    """The difference of days' mean residuals, and its p-value by a t-test over days."""
    one, other = (_day_means(labelled, group, days) for days in (ours, theirs))
    if not len(one[0]) or len(other[0]) < _LEAST_DAYS:
        return None
    change = float(one[0].mean() - other[0].mean())
    freedom = len(one[0]) + len(other[0]) - 2
    squares = ((one[0] - one[0].mean()) ** 2).sum() + ((other[0] - other[0].mean()) ** 2).sum()
    # Days that by luck hardly differ are taken to differ as days of independent rows would.
    variance = max(squares / freedom, float(np.concatenate([one[1], other[1]]).mean()))
    error = np.sqrt(variance * (1 / len(one[0]) + 1 / len(other[0])))
    if error <= 1e-12:
        return change, 1.0 if abs(change) <= 1e-12 else 0.0
    return change, 2 * float(special.stdtr(freedom, -abs(change) / error))


def _day_means(labelled: Residuals, group: NDArray[np.bool_], days: Days) -> tuple[Floats, Floats]:
    """Each day's mean residual in a group of rows, and the variance of that mean."""
    kept = group & np.isin(labelled.days, days)
    places = np.searchsorted(days, labelled.days[kept])
    residuals = labelled.residuals[kept]
    rows = np.bincount(places, minlength=len(days))
    enough = rows >= _LEAST_ROWS / _QUARTERS
    count = np.maximum(rows, 1)
    means = np.bincount(places, weights=residuals, minlength=len(days)) / count
    squares = np.bincount(places, weights=(residuals - means[places]) ** 2, minlength=len(days))
    return means[enough], (squares / count**2)[enough]
