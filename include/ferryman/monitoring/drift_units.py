"""Tells of a night that a column came in another unit, however unlike its days are by themselves.

Weather may move by as much as a degree Fahrenheit differs from one Celsius, but not in that way: a
unit moves level and spread together, and by a known map. There are two sorts of evidence, and
either is enough.

Values: many columns have values that come back day after day (a gauge that reads tenths, knots
told as miles an hour). Another unit has none of them, and taken back through its map all of them.

Days: how likely is a day with that level and that spread after the days before it, taken as it is,
and taken back through a map? The ratio of both, over the last one to three days, is seldom large
where nothing has changed.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from ferryman.monitoring.diagnosis_units import Unit, known_units
from ferryman.monitoring.drift_findings import Comparison
from ferryman.monitoring.drift_night import Spans, spans
from ferryman.monitoring.drift_scale import normal_shift
from ferryman.profiles.column_profile import ColumnProfile, Profile
from ferryman.profiles.day_profiles import DayProfiles
from ferryman.profiles.distances import kolmogorov_distance
from ferryman.profiles.number_profile import NumberProfile, merge_numbers
from ferryman.profiles.quantile_sketch import Flags, Floats
from ferryman.spec.data import FeatureSpec
from ferryman.spec.monitoring import DriftSpec
from ferryman.spec.windows import Window

_NEAR = 0.05  # of the usual gap between two values: the same value
_LEAST_KNOWN = 10  # values that are known, and
_LEAST_NEW = 5  # of those now that are not
_RETURNS = 0.8  # of the rows have known values, taken back
_NAMED = 0.001  # values that are as rare by chance give the unit its name
_CHANCE = 0.1  # least share of values that are near a known one by chance
_LEAST_DAYS = 7
_LATEST = 3  # days over which evidence of days adds up
_FREEDOM = 10  # of the t distribution of days: storms are more frequent than a normal law has them
_ALIKE = 3.0  # units whose log ratio is so near to the best are named beside it
_TYPICAL = 2.5  # how far a day may lie from others, taken back, in standard deviations
_LEAST_LEVEL, _LEAST_WIDTH = 0.01, 0.02  # by which days differ at least, of their spread
_LARGE = 1e100  # what is larger leaves the range of floats when it is squared
_MIDDLE = np.array([0.1, 0.25, 0.5, 0.75, 0.9])


@dataclass(frozen=True)
class UnitChange:
    """The map that makes of a column's days of before the newest one, and how rare that is."""

    unit: str
    p_value: float


def compare_units(
    reference: Profile,
    days: DayProfiles,
    columns: Mapping[str, FeatureSpec],
    window: Window,
    spec: DriftSpec,
) -> list[Comparison]:
    """Whether each column of numbers came in another unit in the newest window.

    The effect is 0 where no unit explains what came, else how far the column has moved since the
    days before. Columns that either side lacks, or with too few rows, are left out.
    """
    own, found = spans(list(days), window, spec), []
    for name, kind in columns.items():
        now = _numbers([days[day].get(name) for day in own.newest])
        if kind.type == "category" or sum(day.count for day in now) < spec.min_rows:
            continue
        before = _numbers([days[day].get(name) for day in own.quiet_newest])
        first = _numbers([reference.get(name)])
        if before or first:
            settled = _numbers([days[day].get(name) for day in _settled(own)])
            found.append(_comparison(name, now, (first, settled, before)))
    return found


def _comparison(
    name: str,
    now: Sequence[NumberProfile],
    earlier: tuple[Sequence[NumberProfile], Sequence[NumberProfile], Sequence[NumberProfile]],
) -> Comparison:
    first, settled, before = earlier
    newest = merge_numbers(now)
    tests = [
        unit_of_values(newest, [*first, *before]),
        # After its first night a change is among the days before.
        unit_of_values(newest, [*first, *settled]),
        unit_of_days([*before, *now]),
    ]
    told = sorted((one for one in tests if one), key=lambda one: one.p_value)
    if not told:
        return Comparison("unit", "previous", f"unit of {name}", name, 0.0, "unit", 1.0)
    # Values tell units apart that days cannot.
    by_values = [one for one in tests[:2] if one and one.p_value < _NAMED]
    unit, p_value = (by_values or told)[0].unit, min(1.0, len(tests) * told[0].p_value)
    usual = merge_numbers(before or first)
    moved = (
        kolmogorov_distance(usual.sketch, newest.sketch) if usual.sketch and newest.sketch else 0.0
    )
    return Comparison(
        "unit",
        "previous",
        f"unit of {name}",
        name,
        effect=normal_shift(moved),
        effect_name="unit",
        p_value=p_value,
        text=f"{name}: as if its unit had become another one, {unit} (mean "
        f"{newest.mean:.4g}, was {usual.mean:.4g})",
        outcome="unit",
        certain=True,
    )


def _settled(own: Spans) -> list[str]:
    return [day for day in own.quiet_newest if day not in own.trailing]


def _numbers(profiles: Iterable[ColumnProfile | None]) -> list[NumberProfile]:
    return [one for one in profiles if isinstance(one, NumberProfile) and one.count]


def unit_of_values(now: NumberProfile, before: Iterable[NumberProfile]) -> UnitChange | None:
    """The unit in which values of before are those of now; None where values tell of none.

    The p-value is that of so many values being near known ones by chance.
    """
    known = np.unique(np.concatenate([np.zeros(0), *(_values(one)[0] for one in before)]))
    values, rows = _values(now)
    if len(known) < _LEAST_KNOWN or rows.sum() < _RETURNS * now.count:
        return None
    if max(np.abs(known).max(), np.abs(values).max()) > _LARGE:
        return None
    near = _NEAR * float(np.median(np.diff(known)))
    chance = max(_CHANCE, 2 * near * len(known) / float(known[-1] - known[0]))
    fresh = ~_is_near(values, known, near)
    if fresh.sum() < _LEAST_NEW or rows[fresh].sum() < rows.sum() / 2:
        return None
    units = [one for one in known_units() if one.factor > 0]
    best: UnitChange | None = None
    for unit in units:
        taken = (values - unit.offset) / unit.factor
        returned = _is_near(taken, known, near)
        if min(_share(rows, returned), _share(rows[fresh], returned[fresh])) < _RETURNS:
            continue
        # Thousandths of everything are near one value, 0.
        count, hits = int(fresh.sum()), len(np.unique(_nearest(taken[fresh & returned], known)))
        p_value = min(1.0, len(units) * float(special.bdtrc(hits - 1, count, chance)))
        if best is None or p_value < best.p_value:
            best = UnitChange(unit.name, p_value)
    return best


def unit_of_days(days: Sequence[NumberProfile]) -> UnitChange | None:
    """The unit in which the last one to three days, oldest first, are like those before them.

    None where there are fewer than seven of those, or where no unit is likelier than none.
    """
    past = _levels(days)
    if len(past) < _LEAST_DAYS + 1 or np.abs(past[:, 0]).max() > _LARGE:
        return None
    units = known_units()
    first = max(_LEAST_DAYS, len(past) - _LATEST)
    since = [_ratios(past[:place], past[place:], units) for place in range(first, len(past))]
    ratios = np.logaddexp.reduce([one for one, _ in since], axis=0) - np.log(len(since))
    # What only moves a column, and by less than it spreads, is a shift like others.
    spread = float(np.exp(past[:first, 1].mean()))
    moves = [unit.factor != 1 or abs(unit.offset) > spread for unit in units]
    typical = np.any([one for _, one in since], axis=0) & np.asarray(moves)
    best = int(np.argmax(np.where(typical, ratios, -np.inf)))
    # The mean of the ratios of all units is seldom large where none has changed (Ville, 1939).
    p_value = float(np.exp(min(0.0, np.log(len(units)) - ratios[best])))
    if not typical[best] or p_value >= 1:
        return None
    order = [int(one) for one in np.argsort(-ratios) if typical[one]]
    names = [units[one].name for one in order if ratios[one] >= ratios[best] - _ALIKE]
    return UnitChange(" or ".join(names[:2]), p_value)


def _values(profile: NumberProfile) -> tuple[Floats, Floats]:
    """The exact values that a profile knows, and the rows of each."""
    sketch = profile.stored.sketch
    if sketch is None:
        return np.zeros(0), np.zeros(0)
    return sketch.values[sketch.pure], sketch.weights[sketch.pure]


def _is_near(values: Floats, known: Floats, near: float) -> Flags:
    return np.abs(values - _nearest(values, known)) <= near


def _nearest(values: Floats, known: Floats) -> Floats:
    after = np.clip(np.searchsorted(known, values), 1, len(known) - 1)
    lower, upper = known[after - 1], known[after]
    return np.where(values - lower < upper - values, lower, upper)


def _share(rows: Floats, chosen: Flags) -> float:
    return float(rows[chosen].sum() / rows.sum())


def _levels(days: Sequence[NumberProfile]) -> Floats:
    """The middle of each day and the logarithm of its spread: [days, 2]; of days with a spread."""
    found = []
    for day in days:
        if day.sketch is None:
            continue
        low, first, middle, last, high = day.sketch.quantiles(_MIDDLE)
        spread = float(high - low)
        if spread > 0:
            found.append(((first + middle + last) / 3, np.log(spread)))
    return np.asarray(found).reshape(-1, 2)


def _ratios(days: Floats, latest: Floats, units: Sequence[Unit]) -> tuple[Floats, Flags]:
    """How many times likelier (log) the latest days are in each unit, and whether ordinary so."""
    factors = np.asarray([1.0, *(unit.factor for unit in units)])
    offsets = np.asarray([0.0, *(unit.offset for unit in units)])
    levels = (latest[:, 0] - offsets[:, None]) / factors[:, None]
    widths = latest[:, 1] - np.log(np.abs(factors))[:, None]
    told, far = _likelihoods(days, levels, widths)
    told -= len(latest) * np.log(np.abs(factors))  # densities of what is seen now
    return told[1:] - told[0], far[1:] <= _TYPICAL


def _likelihoods(days: Floats, levels: Floats, widths: Floats) -> tuple[Floats, Floats]:
    """The log likelihood of days [units, days] after others, and how far the farthest lies.

    A day's level follows from that of the day before it (an autoregression); spreads are drawn.
    """
    count, spread = len(days), float(np.exp(days[:, 1].mean()))
    moved = days[:, 0] - days[:, 0].mean()
    squares = float(np.sum(moved**2))
    follows = float(np.clip(np.sum(moved[1:] * moved[:-1]) / squares, 0, 0.9)) if squares else 0.0
    left = moved[1:] - follows * moved[:-1]
    wider = np.sqrt(1 + 1 / count)
    scale = wider * np.hypot(np.sqrt(np.sum(left**2) / (count - 2)), _LEAST_LEVEL * spread)
    scale_of_widths = wider * np.hypot(days[:, 1].std(ddof=1), _LEAST_WIDTH)
    levels = levels - days[:, 0].mean()
    before = np.column_stack([np.full(len(levels), moved[-1]), levels[:, :-1]])
    apart = np.concatenate(
        [
            (levels - follows * before) / scale,
            (widths - days[:, 1].mean()) / scale_of_widths,
        ],
        axis=1,
    )
    likelihood = -(_FREEDOM + 1) / 2 * np.log1p(apart**2 / _FREEDOM).sum(axis=1)
    return likelihood, np.abs(apart).max(axis=1)
