"""How far a comparison goes on the model's own quiet nights: its threshold's lower bound.

A quiet night is one on which that comparison was no finding, and which is over for longer than the
trailing window: a change that begins would otherwise count as quiet until it is told, and raise the
threshold that it has to reach. Where the newest window is compared
with the days before it, the effect's own level on quiet nights counts, weekends and storms
included. Where a trailing window is compared with something fixed, such as the training data, the
level may grow for good: a bound that grew with it would never tell of a slow change. There it is
the movement between windows that do not overlap that counts. Either is bounded by a tolerance limit
of a normal sample (Howe, 1969), whose spread is taken at the upper end of what so few nights allow.
While there are too few nights the declared effect alone counts.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy import special

from ferryman.spec.monitoring import DriftSpec

if TYPE_CHECKING:
    from ferryman.monitoring.drift_findings import Night

Against = Literal["training", "previous"]
KEPT = timedelta(days=90)
_LEAST_NIGHTS = 14
_LEAST_SPANS = 3
_DOUBT = 0.3  # how often the spread may be larger than is allowed for


def settled(earlier: Sequence["Night"], spec: DriftSpec, start: datetime) -> list["Night"]:
    """The nights that are over for longer than the trailing window when tonight's newest begins."""
    return [night for night in earlier if night.ended <= start - spec.window]


def quiet_reach(
    key: str, against: Against, quiet: Sequence["Night"], spec: DriftSpec, rate: float
) -> float:
    """The effect that a comparison reaches at this rate on nights of `settled`.

    0 while there are too few of them.
    """
    nights = [night for night in quiet if key in night.effects and key not in night.over]
    if against == "previous":
        return _level([night.effects[key] for night in nights], rate)
    return _movement(key, nights, spec.window, rate)


def _level(effects: Sequence[float], rate: float) -> float:
    count = len(effects)
    if count < _LEAST_NIGHTS:
        return 0.0
    values = np.asarray(effects)
    reach = float(values.mean() + _factor(rate, count - 1) * values.std(ddof=1))
    return max(reach, float(values.max()))


def _movement(key: str, nights: Sequence["Night"], span: timedelta, rate: float) -> float:
    by_end = {night.ended: night for night in nights}
    moves = [
        night.effects[key] - by_end[night.ended - span].effects[key]
        for night in nights
        if night.ended - span in by_end and by_end[night.ended - span].version == night.version
    ]
    ends = sorted(by_end)
    nightly = min((b - a for a, b in pairwise(ends)), default=span)
    spans = len(moves) * (nightly / span)
    if spans < _LEAST_SPANS:
        return 0.0
    # A difference of two windows has twice the variance of one.
    spread = float(np.sqrt(np.mean(np.square(moves)) / 2))
    return (1 + _factor(rate, spans)) * spread


def _factor(rate: float, freedom: float) -> float:
    """How many standard deviations the limit lies from the mean."""
    allowed = freedom / float(special.chdtri(freedom, 1 - _DOUBT))
    return float(-special.ndtri(rate) * np.sqrt(allowed))
