"""Says what became of a column: another unit, new nulls, new categories, another type, or a move.

A change of unit is a linear map. It is named where the values of before, taken through the map,
are much nearer to those of now than they were, and near enough to be the same column; of several
maps that do it the simplest counts: factors of known units before a fitted one. Everything is told
from profiles, so that no row is read.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from ferryman.profiles.category_profile import CategoryProfile
from ferryman.profiles.column_profile import ColumnProfile
from ferryman.profiles.comparison import compare_columns
from ferryman.profiles.number_profile import NumberProfile
from ferryman.profiles.quantile_sketch import Floats, QuantileSketch

Kind = Literal["type", "unit", "nulls", "categories", "moved"]

LEAST_EFFECT = 0.1  # of the rows that would have to change; less is how days differ
_LEAST_ROWS = 30
_UNIT_EFFECT = 0.3  # a unit that is another one moves more
_GAIN, _NEAR = 0.4, 0.25  # what a map must leave of the distance, and leave at most
_MARGIN = 0.15  # by which a fitted map must be nearer than a known one
_ALIKE = 0.05  # known maps that leave so much more than the best are named beside it
_LEAST_STRETCH = 1.5
_STRETCH = 1.33  # by which the fitted factor may miss a known one
_SHOWN = 3
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
}


@dataclass(frozen=True)
class ColumnMove:
    """What became of a column since the last good window.

    effect: the share of rows that would have to change to undo it, 0 to 1; factor, offset: of a
    unit, now = before x factor + offset; unit: its name, "" where none is known.
    """

    column: str
    kind: Kind
    effect: float
    text: str
    factor: float | None = None
    offset: float | None = None
    unit: str = ""

    def as_json(self) -> dict[str, Any]:
        """All of it as plain JSON."""
        return asdict(self)


def column_moves(
    before: Mapping[str, ColumnProfile],
    now: Mapping[str, ColumnProfile],
    *,
    usual: Mapping[str, float] | None = None,
) -> list[ColumnMove]:
    """The columns that changed, the largest effect first.

    `usual`: by column, how far one good day lay from the others; what is no larger than twice that
    is how days differ. Columns that either side lacks, or with fewer than 30 rows, are not judged.
    """
    found = []
    for name in before.keys() & now.keys():
        move = _move(name, before[name], now[name])
        if move is not None and (
            move.kind == "unit" or move.effect > max(LEAST_EFFECT, 2 * (usual or {}).get(name, 0.0))
        ):
            found.append(move)
    return sorted(found, key=lambda one: (-one.effect, one.column))


def distance(before: ColumnProfile, now: ColumnProfile) -> float:
    """The share of rows that would have to change for both to be alike, nulls among them."""
    nulls = abs(_nulls(before) - _nulls(now))
    found = compare_columns(before, now).distance
    return max(nulls, found or 0.0)


def _move(name: str, before: ColumnProfile, now: ColumnProfile) -> ColumnMove | None:
    if min(before.rows, now.rows) < _LEAST_ROWS:
        return None
    if isinstance(before, NumberProfile) != isinstance(now, NumberProfile) and now.count:
        said = "text where numbers were" if isinstance(before, NumberProfile) else "numbers"
        return ColumnMove(name, "type", 1.0, f"column {name}: {said}")
    lost = _nulls(now) - _nulls(before)
    if lost > LEAST_EFFECT:
        text = (
            f"column {name}: {_nulls(now):.0%} of the rows have no value, "
            f"{_nulls(before):.0%} before"
        )
        return ColumnMove(name, "nulls", lost, text)
    if isinstance(before, NumberProfile) and isinstance(now, NumberProfile):
        return _number_move(name, before, now)
    if isinstance(before, CategoryProfile) and isinstance(now, CategoryProfile):
        return _category_move(name, before, now)
    return None


def _nulls(profile: ColumnProfile) -> float:
    # A category that is not there is stored as empty text.
    empty = profile.top.get("", 0) if isinstance(profile, CategoryProfile) else 0
    return (profile.nulls + empty) / profile.rows if profile.rows else 0.0


def _category_move(name: str, before: CategoryProfile, now: CategoryProfile) -> ColumnMove | None:
    effect = distance(before, now)
    if effect <= LEAST_EFFECT:
        return None
    # A profile that folds rare values away cannot say which of them were there.
    fresh = {} if before.other else {k: n for k, n in now.top.items() if k and k not in before.top}
    share = sum(fresh.values()) / max(now.count, 1)
    if share > effect / 2:
        shown = ", ".join(f"{word[:40]!r}" for word in list(fresh)[:_SHOWN])
        more = f" and {len(fresh) - _SHOWN} more" if len(fresh) > _SHOWN else ""
        text = f"column {name}: {share:.0%} of the rows have new values: {shown}{more}"
        return ColumnMove(name, "categories", effect, text)
    change = {
        word: now.top.get(word, 0) / max(now.count, 1) - before.top.get(word, 0) / before.count
        for word in before.top.keys() | now.top.keys()
    }
    word = max(sorted(change), key=lambda one: abs(change[one]))
    was = before.top.get(word, 0) / before.count
    text = (
        f"column {name}: {effect:.0%} of the rows would have to change; {word[:40]!r} has "
        f"{was + change[word]:.0%} of them, {was:.0%} before"
    )
    return ColumnMove(name, "moved", effect, text)


def _number_move(name: str, before: NumberProfile, now: NumberProfile) -> ColumnMove | None:
    one, other = before.stored.sketch, now.stored.sketch
    if one is None or other is None:
        return None
    effect = distance(before, now)
    if effect <= LEAST_EFFECT:
        return None
    found = _unit(one, other, effect) if effect >= _UNIT_EFFECT else None
    if found is not None:
        unit, factor, offset = found
        said = f", as if the unit had changed: {unit}" if unit else ""
        text = f"column {name}: its values are those of before{_map(factor, offset)}{said}"
        return ColumnMove(name, "unit", effect, text, factor, offset, unit)
    middle = [float(side.quantiles(np.array([0.5]))[0]) for side in (one, other)]
    text = (
        f"column {name}: {effect:.0%} of the rows would have to change; its median is "
        f"{middle[1]:.4g}, {middle[0]:.4g} before"
    )
    return ColumnMove(name, "moved", effect, text)


def _map(factor: float, offset: float) -> str:
    moved = f" {'+' if offset > 0 else '-'} {abs(offset):.4g}" if offset else ""
    return (f" x {factor:.4g}" if factor != 1 else "") + moved


def _unit(
    one: QuantileSketch, other: QuantileSketch, effect: float
) -> tuple[str, float, float] | None:
    """The name, the factor and the offset of the map that makes of one column the other."""
    before, now = one.quantiles(_SHARES), other.quantiles(_SHARES)
    if len(np.unique(before)) < _LEAST_VALUES or len(np.unique(now)) < _LEAST_VALUES:
        return None
    factor, offset = (float(part) for part in np.polyfit(before, now, 1))
    # A map stretches by its factor, whatever else the days differ in.
    alike = (one for one in _maps() if 1 / _STRETCH < factor / abs(one[1]) < _STRETCH)
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


def _maps() -> list[tuple[str, float, float]]:
    """Every known map and its inverse: name, factor, offset."""
    there = [(unit, factor, offset) for unit, (factor, offset) in _UNITS.items()]
    back = [
        (_INVERSE[unit], 1 / factor, -offset / factor)
        for unit, factor, offset in there
        if unit in _INVERSE
    ]
    return there + back


def _left(one: QuantileSketch, now: Floats, factor: float, offset: float) -> float:
    """What is left of the distance when a map is undone: the largest gap of shares at quantiles."""
    if factor == 0:
        return 1.0
    shares = _SHARES if factor > 0 else 1 - _SHARES
    return float(np.abs(one.shares_below((now - offset) / factor) - shares).max())
