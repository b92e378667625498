"""The bins of a reference column, and what any other profile of that column holds in them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ferryman.profiles.category_profile import CategoryProfile
from ferryman.profiles.column_profile import ColumnProfile
from ferryman.profiles.number_profile import NumberProfile
from ferryman.profiles.quantile_sketch import Floats

BINS = 10


@dataclass(frozen=True)
class ReferenceBins:
    """Bins that a reference column gives: rows [bins] that it has in each; the last are nulls.

    Numbers: `edges` between about equally many rows of the reference, where a value on an edge
    belongs above it, and values beyond the outermost go into the outermost bins; where the
    reference had one value, below it, that value, above it. Categories: its `names`, then all
    others. "" is null too.
    """

    rows: Floats
    edges: Floats
    names: tuple[str, ...] | None = None

    def fits(self, profile: ColumnProfile) -> bool:
        """Whether a profile is of this kind of column."""
        return isinstance(profile, CategoryProfile) == (self.names is not None)

    def count(self, profile: ColumnProfile) -> Floats:
        """How many rows a profile has in each bin: [bins].

        Of numbers within the sketch's error; of categories exactly, where the profile keeps the
        reference's values by name. A profile that does not fit has no row anywhere but in nulls.
        """
        if isinstance(profile, CategoryProfile) and self.names is not None:
            return _count_categories(self.names, profile)
        if isinstance(profile, NumberProfile) and self.names is None:
            return self._count_numbers(profile)
        return np.asarray([*np.zeros(len(self.rows) - 1), float(profile.rows)])

    def by_day(self, days: Sequence[ColumnProfile]) -> Floats:
        """The same of several days: [days, bins]."""
        return np.stack([self.count(day) for day in days]) if days else np.zeros((0, *self._shape))

    @property
    def _shape(self) -> tuple[int]:
        return (len(self.rows),)

    def _count_numbers(self, profile: NumberProfile) -> Floats:
        sketch, edges = profile.sketch, self.edges
        if sketch is None:
            return np.asarray([*np.zeros(len(self.rows) - 1), float(profile.nulls)])
        if len(edges) == 1:
            below = [sketch.shares_below(edges, included=told)[0] for told in (False, True)]
        else:
            below = sketch.shares_below(edges[1:-1], included=False).tolist()
        inside = np.diff(np.asarray([0.0, *below, 1.0])) * profile.count
        return np.asarray([*inside, float(profile.nulls)])


def bins_of(reference: ColumnProfile, count: int = BINS) -> ReferenceBins:
    """The bins of a reference column, at most `count` for numbers."""
    if isinstance(reference, CategoryProfile):
        names = tuple(name for name in reference.top if name)
        return ReferenceBins(_count_categories(names, reference), np.zeros(0), names)
    edges, inside = reference.bins(count)
    if len(edges) == 1:
        inside = np.asarray([0.0, float(reference.count), 0.0])
    elif not len(edges):
        inside = np.zeros(1)
    return ReferenceBins(np.append(inside, float(reference.nulls)), edges)


def unseen_values(reference: CategoryProfile, current: CategoryProfile) -> tuple[list[str], int]:
    """Values that a reference never had, the most frequent first, and how many rows have one.

    A reference that folds rare values away cannot say which of them it had: none are told.
    """
    if reference.other:
        return [], 0
    found = [
        (name, rows) for name, rows in current.top.items() if name and name not in reference.top
    ]
    return [name for name, _ in found], sum(rows for _, rows in found) + current.other


def _count_categories(names: Sequence[str], profile: CategoryProfile) -> Floats:
    known = [float(profile.top.get(name, 0)) for name in names]
    empty = profile.top.get("", 0)
    others = profile.count - empty - sum(known)
    return np.asarray([*known, others, float(profile.nulls + empty)])
