"""Compares columns with a reference by their profiles alone: no row is read again."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ferryman.profiles.category_profile import CategoryProfile
from ferryman.profiles.column_profile import ColumnProfile
from ferryman.profiles.distances import distances
from ferryman.profiles.number_profile import NumberProfile
from ferryman.profiles.profiled_columns import profile_parquet
from ferryman.profiles.quantile_sketch import Floats
from ferryman.profiles.reference_bins import bins_of
from ferryman.profiles.two_samples import stability_index
from ferryman.spec.data import FeatureSpec


@dataclass(frozen=True)
class Comparison:
    """How far a column lies from its reference.

    stability: population stability index over the reference's bins, nulls being one. distance: the
    largest difference of shares, 0 to 1: Kolmogorov's of numbers, total variation of categories.
    moved: Wasserstein distance, in the column's unit. The latter are None where either side has no
    value, or where they are not of one kind.
    """

    stability: float
    distance: float | None = None
    moved: float | None = None


def compare_columns(reference: ColumnProfile, current: ColumnProfile) -> Comparison:
    """Compare one column with its reference."""
    bins = bins_of(reference.stored)
    rows = bins.count(current.stored)
    stability = stability_index(bins.rows, rows)
    if isinstance(reference, CategoryProfile) and isinstance(current, CategoryProfile):
        return Comparison(stability, _total_variation(bins.rows[:-1], rows[:-1]))
    if isinstance(reference, NumberProfile) and isinstance(current, NumberProfile):
        # In the size in which they are stored: what is told does not depend on who stored it.
        one, other = reference.stored.sketch, current.stored.sketch
        if one is not None and other is not None:
            return Comparison(stability, *distances(one, other))
    return Comparison(stability)


def _total_variation(one: Floats, other: Floats) -> float | None:
    """Half the sum of differences between shares: the share of rows that would have to move."""
    if not (one.any() and other.any()):
        return None
    return float(np.abs(one / one.sum() - other / other.sum()).sum() / 2)


def compare_parquet(
    source: Any,
    columns: Mapping[str, FeatureSpec],
    reference: Mapping[str, ColumnProfile],
    *,
    threads: int = 1,
) -> dict[str, Comparison]:
    """Compare a Parquet file with the reference's columns, in one pass over the file."""
    known = {name: spec for name, spec in columns.items() if name in reference}
    current = profile_parquet(source, known, named_in(reference), threads=threads)
    return {name: compare_columns(reference[name], current[name]) for name in known}


def named_in(reference: Mapping[str, ColumnProfile]) -> dict[str, frozenset[str]]:
    """The categories that a reference keeps by name, by column: those to be counted by name."""
    return {
        name: frozenset(column.top)
        for name, column in reference.items()
        if isinstance(column, CategoryProfile)
    }
