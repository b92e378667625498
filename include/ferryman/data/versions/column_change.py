"""What changed in one column between two versions of data, told from its profiles alone."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
from scipy import special

from ferryman.profiles.category_profile import CategoryProfile, merge_categories
from ferryman.profiles.column_profile import ColumnProfile, merge_profiles
from ferryman.profiles.distances import (
    kolmogorov_distance,
    total_variation,
    wasserstein_distance,
)
from ferryman.profiles.number_profile import NumberProfile, merge_numbers
from ferryman.profiles.quantile_sketch import Floats, QuantileSketch
from ferryman.profiles.two_samples import counts_p, kolmogorov_p, windows_p

Verdict = Literal["same", "changed", "too_few_rows", "new", "gone"]

MIN_ROWS = 30
MIN_WINDOWS = 5
_SHOWN = 10
_FREQUENT = 0.02  # a category with a smaller share of the rows is compared together with others


@dataclass(frozen=True)
class ColumnChange:
    """One column of two versions; pairs are (before, after).

    effect: the share of rows that would have to change for both to be alike: the Kolmogorov
    distance of numbers, the total variation of categories, or the change of the share of nulls,
    whichever is largest. p_value: that rows drawn alike differ as much; not yet corrected for the
    number of columns. shift: of the mean, in pooled standard deviations; moved: the Wasserstein
    distance in the same unit. appeared, vanished: up to ten categories with their rows.
    """

    column: str
    verdict: Verdict
    effect: float | None = None
    p_value: float | None = None
    nulls: tuple[float, float] | None = None
    distance: float | None = None
    shift: float | None = None
    moved: float | None = None
    appeared: dict[str, int] = field(default_factory=dict)
    vanished: dict[str, int] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """The change as JSON values, without what does not apply."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
            if value not in (None, {})
        }


def compare_column(
    name: str, before: Sequence[ColumnProfile], after: Sequence[ColumnProfile]
) -> ColumnChange:
    """Compare a column by its windows' profiles; the verdict is left open (`same`) where it rests
    on the p-value."""
    if not before or not after:
        return ColumnChange(name, "gone" if before else "new")
    merged = [merge_profiles([{name: one} for one in side])[name] for side in (before, after)]
    one, other = merged
    if type(one) is not type(other):
        return ColumnChange(name, "changed", effect=1.0, p_value=0.0)
    if min(one.rows, other.rows) < MIN_ROWS:
        return ColumnChange(name, "too_few_rows")
    nulls = (one.nulls / one.rows, other.nulls / other.rows)
    clustered = min(len(before), len(after)) >= MIN_WINDOWS
    if isinstance(one, NumberProfile) and isinstance(other, NumberProfile):
        sides = _numbers(before), _numbers(after)
        p_value = _number_windows_p(*sides) if clustered else _number_rows_p(one, other)
        found = _number_figures(one, other)
    elif isinstance(one, CategoryProfile) and isinstance(other, CategoryProfile):
        words = _categories(before), _categories(after)
        p_value = _category_windows_p(*words) if clustered else _category_rows_p(one, other)
        found = _category_figures(one, other)
    return ColumnChange(
        column=name,
        verdict="same",
        effect=max(found.get("distance") or 0.0, abs(nulls[1] - nulls[0])),
        p_value=p_value,
        nulls=nulls,
        **found,
    )


def _numbers(profiles: Sequence[ColumnProfile]) -> list[NumberProfile]:
    return [one for one in profiles if isinstance(one, NumberProfile)]


def _categories(profiles: Sequence[ColumnProfile]) -> list[CategoryProfile]:
    return [one for one in profiles if isinstance(one, CategoryProfile)]


def _number_figures(one: NumberProfile, other: NumberProfile) -> dict[str, Any]:
    if one.sketch is None or other.sketch is None:
        return {}
    pooled = merge_numbers([one, other])
    spread = _pooled_spread(one, other)
    apart = abs((other.mean or 0.0) / 2 - (one.mean or 0.0) / 2) * 2
    sign = 1 if (other.mean or 0.0) >= (one.mean or 0.0) else -1
    moved = wasserstein_distance(one.sketch, other.sketch)
    return {
        "distance": kolmogorov_distance(one.sketch, other.sketch),
        # Two constants have no spread to measure by.
        "shift": sign * apart / spread if spread else (None if pooled.std else 0.0),
        "moved": moved / spread if spread else (None if pooled.std else 0.0),
    }


def _pooled_spread(one: NumberProfile, other: NumberProfile) -> float:
    """The standard deviation inside both versions."""
    stds = np.asarray([one.std or 0.0, other.std or 0.0])
    largest = float(stds.max())
    if largest == 0:
        return 0.0
    counts = np.asarray([one.count, other.count], dtype=np.float64)
    return largest * float(np.sqrt(np.sum(counts / counts.sum() * (stds / largest) ** 2)))


def _number_rows_p(one: NumberProfile, other: NumberProfile) -> float:
    """As if rows were independent: values by Kolmogorov and Smirnov, nulls by chi-square."""
    nulls = counts_p(
        np.asarray([one.nulls, one.count], dtype=np.float64),
        np.asarray([other.nulls, other.count], dtype=np.float64),
    )
    if one.sketch is None or other.sketch is None:
        return nulls
    distance = kolmogorov_distance(one.sketch, other.sketch)
    return min(1.0, 2 * min(nulls, kolmogorov_p(distance, one.count, other.count)))


def _number_windows_p(before: list[NumberProfile], after: list[NumberProfile]) -> float:
    """Windows against windows: where their values rank, how far out they lie, how many are null."""
    ranks = merge_numbers([*before, *after]).sketch
    return windows_p(_number_scores(before, ranks), _number_scores(after, ranks))


def _number_scores(windows: list[NumberProfile], ranks: QuantileSketch | None) -> Floats:
    """Ranks as normal scores, whose mean is closer to a normal law than that of the values."""
    scores = []
    for window in windows:
        if not window.rows:
            continue
        nulls = window.nulls / window.rows
        # A window without values says nothing of where values lie: it stays where most are.
        middle, width = 0.0, np.sqrt(2 / np.pi)
        if window.sketch is not None and ranks is not None:
            values, weights = window.sketch.values, window.sketch.weights / window.sketch.total
            upto, below = (ranks.shares_below(values, included=flag) for flag in (True, False))
            score = special.ndtri(np.clip((upto + below) / 2, 1e-9, 1 - 1e-9))
            middle = float(np.sum(weights * score))
            width = float(np.sum(weights * np.abs(score)))
        scores.append([middle, width, nulls])
    return np.asarray(scores, dtype=np.float64).reshape(-1, 3)


def _category_figures(one: CategoryProfile, other: CategoryProfile) -> dict[str, Any]:
    return {
        "distance": total_variation(one, other),
        "appeared": _only_in(other, one),
        "vanished": _only_in(one, other),
    }


def _only_in(one: CategoryProfile, other: CategoryProfile) -> dict[str, int]:
    """Categories that the other surely has not: it keeps every value by name."""
    if other.other:
        return {}
    fresh = [(name, rows) for name, rows in one.top.items() if name not in other.top]
    return dict(fresh[:_SHOWN])


def _category_rows_p(one: CategoryProfile, other: CategoryProfile) -> float:
    names = sorted(one.top.keys() | other.top.keys())
    counts = [
        np.asarray([*(side.top.get(name, 0) for name in names), side.other, side.nulls], np.float64)
        for side in (one, other)
    ]
    return counts_p(*counts)


def _category_windows_p(before: list[CategoryProfile], after: list[CategoryProfile]) -> float:
    """Windows against windows: the share of each frequent category, of the rest, and of nulls."""
    pooled = merge_categories([*before, *after])
    names = [name for name, rows in pooled.top.items() if rows >= _FREQUENT * pooled.rows]
    return windows_p(_category_scores(before, names), _category_scores(after, names))


def _category_scores(windows: list[CategoryProfile], names: list[str]) -> Floats:
    scores = []
    for window in windows:
        if window.rows:
            shares = [window.top.get(name, 0) / window.rows for name in names]
            nulls = window.nulls / window.rows
            scores.append([*shares, nulls, 1 - sum(shares) - nulls])
    return np.asarray(scores, dtype=np.float64).reshape(-1, len(names) + 2)
