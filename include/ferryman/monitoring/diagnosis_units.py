"""Tells another unit: the linear map that makes of a column's values before those of now.

A map is named where the values of before, taken through it, are much nearer to those of now than
they were, and near enough to be the same column; of several maps that do it the simplest counts:
factors of known units before a fitted one. Where good days are unlike each other (the weather), a
storm may look like another unit: then most values must be such as were never seen, and taken back
through the map they must be those of some good day.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np

from ferryman.profiles.quantile_sketch import Floats, QuantileSketch

_GAIN, _NEAR = 0.4, 0.25  # what a map must leave of the distance, and leave at most
_MARGIN = 0.15  # by which a fitted map must be nearer than a known one
_ALIKE = 0.05  # known maps that leave so much more than the best are named beside it
_LEAST_STRETCH = 1.5
_STRETCH = 1.33  # by which the fitted factor may miss a known one
_NEVER_SEEN = 0.5  # of the rows
_FAR = 0.25  # of what was seen, beyond its ends
_LIKE_A_DAY = 0.4
_SHARES = np.linspace(0.05, 0.95, 37)
_LEAST_VALUES = 5  # different quantiles; two points lie on a line always

# What the values of before are multiplied by, then moved by. Each stands for its inverse, too.
_UNITS: Mapping[str, tuple[float, float]] = {
    "C to F": (1.8, 32.0),
    "C to K": (1.0, 273.15),
    "thousandfold, such as km to m": (1000.0, 0.0),
    "a millionfold": (1e6, 0.0),
    "a share to percent, or m to cm": (100.0, 0.0),
    "tenfold": (10.0, 0.0),
    "minutes to seconds, or hours to minutes": (60.0, 0.0),
    "hours to seconds": (3600.0, 0.0),
    "days to hours": (24.0, 0.0),
    "miles to km": (1.609344, 0.0),
    "m to feet": (3.28084, 0.0),
    "inches to cm": (2.54, 0.0),
    "kg to pounds": (2.204623, 0.0),
    "knots to km/h": (1.852, 0.0),
    "m/s to km/h": (3.6, 0.0),
    "m/s to mph": (2.236936, 0.0),
    "inHg to hPa": (33.86389, 0.0),
    "the sign turned": (-1.0, 0.0),
}
_INVERSE: Mapping[str, str] = {
    "C to F": "F to C",
    "C to K": "K to C",
    "thousandfold, such as km to m": "a thousandth, such as m to km",
    "a millionfold": "a millionth",
    "a share to percent, or m to cm": "percent to a share, or cm to m",
    "tenfold": "a tenth",
    "minutes to seconds, or hours to minutes": "seconds to minutes, or minutes to hours",
    "hours to seconds": "seconds to hours",
    "days to hours": "hours to days",
    "miles to km": "km to miles",
    "m to feet": "feet to m",
    "inches to cm": "cm to inches",
    "kg to pounds": "pounds to kg",
    "knots to km/h": "km/h to knots",
    "m/s to km/h": "km/h to m/s",
    "m/s to mph": "mph to m/s",
    "inHg to hPa": "hPa to inHg",
}


class Unit(NamedTuple):
    """A known map: what is now = before x factor + offset."""

    name: str
    factor: float
    offset: float


def unit_between(
    one: QuantileSketch, other: QuantileSketch, effect: float
) -> tuple[str, float, float] | None:
    """The name, factor and offset of the map that makes of one column the other; None for none.

    effect: how far they lie apart.
    """
    before, now = one.quantiles(_SHARES), other.quantiles(_SHARES)
    if len(np.unique(before)) < _LEAST_VALUES or len(np.unique(now)) < _LEAST_VALUES:
        return None
    factor, offset = (float(part) for part in np.polyfit(before, now, 1))
    # A map stretches by its factor, whatever else the days differ in.
    alike = (one for one in known_units() if 1 / _STRETCH < factor / abs(one[1]) < _STRETCH)
    maps = [("", factor, offset), *alike]
    left = [_left(one, now, by, moved) for _, by, moved in maps]
    fitted, best = left[0], int(np.argmin(left[1:])) + 1 if len(left) > 1 else 0
    bound = min(_NEAR, _GAIN * effect)
    if best and left[best] <= min(bound, fitted + _MARGIN):
        order = [int(place) for place in np.argsort(left) if place]
        near = [maps[place][0] for place in order if left[place] <= left[best] + _ALIKE]
        return " or ".join(near[:2]), *maps[best][1:]
    # A fit finds any move: only one that stretches, too, and fits well, is called a unit.
    stretched = not 1 / _LEAST_STRETCH < factor < _LEAST_STRETCH
    if fitted <= bound / 2 and factor > 0 and stretched:
        return "", factor, offset
    return None


def unit_beyond(
    now: QuantileSketch,
    days: Sequence[QuantileSketch],
    since: Sequence[QuantileSketch],
    seen: Sequence[QuantileSketch],
) -> tuple[str, float, float] | None:
    """The known map of a column whose good `days` are unlike; never a fitted one.

    Every day `since` that is beyond what was `seen`, too, must be some good day in another unit.
    """
    low, high = min(one.low for one in seen), max(one.high for one in seen)
    spreads = [_spread(one.quantiles(_SHARES)) for one in days]
    least, most = min(spreads) / _LEAST_STRETCH, max(spreads) * _LEAST_STRETCH

    def is_beyond(values: Floats) -> bool:
        far = _FAR * (high - low)
        alike = least <= _spread(values) <= most  # a record day is as wide as others, and not far
        ends = (low - far, high + far) if alike else (low, high)
        never_seen = float(np.mean((values < ends[0]) | (values > ends[1]))) >= _NEVER_SEEN
        return never_seen and len(np.unique(values)) >= _LEAST_VALUES

    newest = now.quantiles(_SHARES)
    if not is_beyond(newest):
        return None
    others = (one.quantiles(_SHARES) for one in since)
    looked = [newest, *(values for values in others if is_beyond(values))]
    left = [
        (_left_of_days(days, looked, by, moved), name, by, moved)
        for name, by, moved in known_units()
        if np.mean(np.abs((newest - moved) / by - (low + high) / 2) <= (high - low) / 2) > 0.9
    ]
    near = sorted(one for one in left if one[0] <= _LIKE_A_DAY)
    if not near:
        return None
    names = [name for far, name, _, _ in near if far <= near[0][0] + _ALIKE]
    return " or ".join(names[:2]), near[0][2], near[0][3]


def _spread(values: Floats) -> float:
    return float(values[-1] - values[0])


def _left_of_days(
    days: Sequence[QuantileSketch], looked: Sequence[Floats], factor: float, offset: float
) -> float:
    """How far days lie from the nearest good day when a map is undone, on average."""
    nearest = (min(_left(day, values, factor, offset) for day in days) for values in looked)
    return float(np.mean(list(nearest)))


@cache
def known_units() -> tuple[Unit, ...]:
    """Every known map and its inverse."""
    there = [Unit(unit, factor, offset) for unit, (factor, offset) in _UNITS.items()]
    back = [
        Unit(_INVERSE[unit], 1 / factor, -offset / factor)
        for unit, factor, offset in there
        if unit in _INVERSE
    ]
    return (*there, *back)


def _left(one: QuantileSketch, now: Floats, factor: float, offset: float) -> float:
    """What is left of the distance when a map is undone: the largest gap of shares at quantiles."""
    if factor == 0:
        return 1.0
    shares = _SHARES if factor > 0 else 1 - _SHARES
    return float(np.abs(one.shares_below((now - offset) / factor) - shares).max())
