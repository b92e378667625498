"""Weighs a release by what came of it: whether the new version loses more than the one before.

Versions mostly answer on different days, and days are unlike: so days are what is compared. A
release whose loss is not higher explains no fall in quality, however near it lies.
"""

from dataclasses import replace

import numpy as np
from scipy.special import stdtr  # the distribution, without a wrapper's cost

from ferryman.monitoring.diagnosis import Change
from ferryman.monitoring.diagnosis_slices import Losses

_LEAST_DAYS = (3, 2)  # of the version before, and of the present one
_WORSE, _NOT_WORSE = 0.05, 0.2  # the chance of a loss that much higher by days alone
_WEIGHT_WORSE, _WEIGHT_NOT = 0.9, 0.3


def weighed_release(change: Change, before: Losses, now: Losses) -> Change:
    """The change with the losses of both versions in its text, and a weight that follows them.

    before, now: labelled rows that the version before, and the present one, answered.
    """
    days = [len(np.unique(side.days)) for side in (before, now)]
    if any(count < least for count, least in zip(days, _LEAST_DAYS, strict=True)):
        return change
    means, spreads, weights = zip(*(_by_day(side) for side in (before, now)), strict=True)
    freedom = sum(days) - 2
    spread = sum(one * (count - 1) for one, count in zip(spreads, days, strict=True)) / freedom
    error = float(np.sqrt(spread * sum(1 / weight for weight in weights)))
    rose = means[1] - means[0]
    chance = float(stdtr(freedom, -rose / error)) if error > 0 else float(rose <= 0)
    said = f"its loss is {means[1]:.3f} a row, {means[0]:.3f} of the version before"
    if chance <= _WORSE:
        return replace(change, text=f"{change.text}; {said}", weight=_WEIGHT_WORSE)
    if chance >= _NOT_WORSE:
        text = f"{change.text}; {said}, which is how days differ"
        return replace(change, text=text, weight=min(change.weight, _WEIGHT_NOT))
    return replace(change, text=f"{change.text}; {said}")


def _by_day(losses: Losses) -> tuple[float, float, float]:
    """The mean loss, how days spread about it (a unit of weight), and the rows."""
    rows, lost = losses.by_day(np.ones(len(losses.values), dtype=np.bool_))
    mean = float(lost.sum() / rows.sum())
    spread = float(np.sum(rows * (lost / rows - mean) ** 2)) / (len(rows) - 1)
    return mean, spread, float(rows.sum())
