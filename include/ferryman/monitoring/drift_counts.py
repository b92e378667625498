"""A column's days of late beside its profile of before: counts by bin and day, and how far apart.

Everything is told from profiles: no row is read again. The last bin counts nulls, which NaN,
infinities and "" are too.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ferryman.profiles.category_profile import CategoryProfile, merge_categories
from ferryman.profiles.column_profile import ColumnProfile
from ferryman.profiles.distances import kolmogorov_distance
from ferryman.profiles.number_profile import NumberProfile, merge_numbers
from ferryman.profiles.reference_bins import ReferenceBins, bins_of, unseen_values
from ferryman.profiles.two_samples import design_effect

Floats = NDArray[np.float64]
_SHOWN = 10


@dataclass(frozen=True)
class ColumnCounts:
    """Rows of both sides by bin, those of late by day too; the last bin counts nulls.

    reference: [bins]; by_day: [days, bins]; moved: the share of rows with a value that would have
    to move to make one side the other (Kolmogorov's distance of numbers, total variation of
    categories); constant: whether one value is all that is left; told: what has changed, in words;
    new_rows: rows with values that were not there before, and up to ten of these; together: the
    share of the reference's rows whose values are too rare to be kept by name, and count as one.
    """

    reference: Floats
    by_day: Floats
    moved: float
    constant: bool
    told: str
    new_values: list[str] = field(default_factory=list)
    new_rows: float = 0.0
    together: float = 0.0

    @property
    def current(self) -> Floats:
        """Rows of late by bin, all days together."""
        return np.asarray(self.by_day.sum(axis=0))

    @property
    def nulls(self) -> tuple[float, float]:
        """The share of nulls before and now; 0 where there is no row."""
        return _last_share(self.reference), _last_share(self.current)

    @property
    def unseen(self) -> float:
        """The share of rows of late whose value was not there before."""
        return self.new_rows / max(1.0, float(self.current.sum()))


def count_column(before: ColumnProfile, days: Sequence[ColumnProfile]) -> ColumnCounts | None:
    """The counts of a column's days, at least one; None where a day is of another kind."""
    bins = bins_of(before)
    if not all(bins.fits(day) for day in days):
        return None
    if isinstance(before, CategoryProfile):
        words = [day for day in days if isinstance(day, CategoryProfile)]
        return _category_counts(bins, before, words)
    return _number_counts(bins, before, [day for day in days if isinstance(day, NumberProfile)])


def _number_counts(
    bins: ReferenceBins, before: NumberProfile, days: Sequence[NumberProfile]
) -> ColumnCounts:
    now = merge_numbers(days).stored
    if before.sketch is None or now.sketch is None:
        moved = 0.0 if before.sketch is now.sketch else 1.0
    else:
        moved = kolmogorov_distance(before.sketch, now.sketch)
    return ColumnCounts(
        reference=bins.rows,
        by_day=bins.by_day(days),
        moved=moved,
        constant=now.low is not None and now.low == now.high and before.low != before.high,
        told=f"mean {_shown(now.mean)}, was {_shown(before.mean)}",
    )


def _category_counts(
    bins: ReferenceBins, before: CategoryProfile, days: Sequence[CategoryProfile]
) -> ColumnCounts:
    now = merge_categories(days, bins.names or ())
    by_day = bins.by_day(days)
    new_values, new_rows = unseen_values(before, now)
    names = [*(bins.names or ()), "other values"]
    present = [name for name in now.top if name]
    return ColumnCounts(
        reference=bins.rows,
        by_day=by_day,
        moved=_total_variation(bins.rows[:-1], by_day[:, :-1]),
        constant=len(present) == 1 and not now.other and int((bins.rows[:-1] > 0).sum()) > 1,
        told=_most_changed(names, bins.rows[:-1], by_day.sum(axis=0)[:-1]),
        new_values=new_values[:_SHOWN],
        new_rows=float(new_rows),
        together=before.other / max(1, before.count),
    )


def _total_variation(one: Floats, by_day: Floats) -> float:
    """Half the sum of differences of shares, without what chance adds to each."""
    other = by_day.sum(axis=0)
    rows, others = one.sum(), other.sum()
    if not rows or not others:
        return 0.0 if rows == others else 1.0
    p, q = one / rows, other / others
    chance = design_effect(by_day) * (p * (1 - p) / rows + q * (1 - q) / others)
    return float(np.sqrt(np.maximum(0, (p - q) ** 2 - chance)).sum() / 2)


def _most_changed(names: Sequence[str], one: Floats, other: Floats) -> str:
    p, q = one / max(1.0, one.sum()), other / max(1.0, other.sum())
    most = int(np.argmax(np.abs(p - q)))
    return f"{names[most][:60]!r} {q[most]:.1%} of values, was {p[most]:.1%}"


def _shown(mean: float | None) -> str:
    return "none" if mean is None else f"{mean:.4g}"


def _last_share(counts: Floats) -> float:
    total = float(counts.sum())
    return float(counts[-1]) / total if total else 0.0
