"""Says what became of a column: another unit, new nulls, new categories, another type, or a move.

Everything is told from profiles, so that no row is read.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from ferryman.monitoring.diagnosis_units import unit_between, unit_beyond
from ferryman.profiles.category_profile import CategoryProfile
from ferryman.profiles.column_profile import ColumnProfile, Profile
from ferryman.profiles.comparison import compare_columns
from ferryman.profiles.day_profiles import merged
from ferryman.profiles.number_profile import NumberProfile
from ferryman.profiles.quantile_sketch import QuantileSketch

Kind = Literal["type", "unit", "nulls", "categories", "moved"]

LEAST_EFFECT = 0.1  # of the rows that would have to change; less is how days differ
_LEAST_ROWS = 30
_UNIT_EFFECT = 0.3  # a unit that is another one moves more
_UNSTEADY = 0.25  # how far a good day may lie from the others; beyond it, days are unlike
_SHOWN = 3


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
    before: Profile,
    now: Profile,
    *,
    days: Sequence[Profile] | None = None,
    since: Sequence[Profile] = (),
    seen: Profile | None = None,
) -> list[ColumnMove]:
    """The columns that changed, the largest effect first.

    `days`: days of before the change by themselves, which tell how unlike days are; None: they are
    alike. What is no larger than twice what the farthest lies from all of them is how days differ.
    `since`: days between those and now, which may have changed already; `seen`: what training saw.
    Columns that either side lacks, or with fewer than 30 rows, are not judged.
    """
    found, pooled = [], merged(days or [])
    for name in before.keys() & now.keys():
        good = [day[name] for day in days or [] if name in day]
        apart = [distance(pooled[name], day) for day in good] if len(good) > 1 else []
        usual = max(apart, default=0.0 if days is None else 1.0)
        trained = [seen[name]] if seen and name in seen else []
        later = [day[name] for day in since if name in day]
        known = _Known(usual, good, later, [before[name], *trained])
        move = _move(name, before[name], now[name], known)
        least = max(LEAST_EFFECT, 2 * max(apart, default=0.0))
        if move is not None and (move.kind == "unit" or move.effect > least):
            found.append(move)
    return sorted(found, key=lambda one: (-one.effect, one.column))


@dataclass(frozen=True)
class _Known:
    """What is known of a column: how far days lie from each other (1: not known), the days, those
    since, and all that was seen before."""

    usual: float
    days: Sequence[ColumnProfile]
    since: Sequence[ColumnProfile]
    seen: Sequence[ColumnProfile]


def distance(before: ColumnProfile, now: ColumnProfile) -> float:
    """The share of rows that would have to change for both to be alike, nulls among them."""
    nulls = abs(_nulls(before) - _nulls(now))
    found = compare_columns(before, now).distance
    return max(nulls, found or 0.0)


def _move(name: str, before: ColumnProfile, now: ColumnProfile, known: _Known) -> ColumnMove | None:
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
        return _number_move(name, before, now, known)
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


def _number_move(
    name: str, before: NumberProfile, now: NumberProfile, known: _Known
) -> ColumnMove | None:
    one, other = before.stored.sketch, now.stored.sketch
    if one is None or other is None or not one.total or not other.total:
        return None  # what is all null tells no values
    effect = distance(before, now)
    if effect <= LEAST_EFFECT:
        return None
    found = None
    if known.usual <= _UNSTEADY and effect >= _UNIT_EFFECT:
        found = unit_between(one, other, effect)
    elif effect >= _UNIT_EFFECT:
        days, since, seen = map(_sketches, (known.days, known.since, known.seen))
        found = unit_beyond(other, days or [one], since, seen)
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


def _sketches(profiles: Sequence[ColumnProfile]) -> list[QuantileSketch]:
    stored = [one.stored.sketch for one in profiles if isinstance(one, NumberProfile)]
    return [one for one in stored if one is not None and one.total]
