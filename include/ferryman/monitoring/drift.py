"""Compares the inputs of late with the profile of the training data, column by column.

A column has drifted only when the change is both large (population stability index at or above the
declared effect) and beyond chance (chi-square on binned counts, at the declared false-alarm rate
divided by the number of columns). Rows of one day are alike: all flights of an hour have the same
weather. A test that takes rows for independent would call every week of weather a drift, so the
statistic is divided by the design effect, which is how much more the days differ from each other
than days of independent rows would (Rao and Scott, 1981).
"""

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ferryman.profiles.number_profile import read_number
from ferryman.profiles.two_samples import stability_index, two_sample_p
from ferryman.spec.data import FeatureSpec
from ferryman.spec.monitoring import DriftSpec

Outcome = Literal[
    "stable",
    "drifted",
    "new_categories",
    "all_null",
    "constant",
    "too_few_rows",
    "no_reference",
    "not_logged",
]
Floats = NDArray[np.float64]
Places = NDArray[np.int64]
_SHOWN = 10
_BINS = 10


@dataclass(frozen=True)
class ColumnDrift:
    """One column's comparison.

    outcome: `stable` and `drifted` speak for themselves; `new_categories` is drift that values the
    training data never had account for; `all_null` and `constant` are columns that lost all values,
    or all variety, and had them in training; `too_few_rows` and `no_reference` could not be judged,
    and `not_logged` is a column that the prediction log is not to keep.
    psi: population stability index (None where not judged); p_value: of the test, not yet corrected
    for the number of columns; nulls: their share now; new_values: up to ten categories that were
    not in the training data.
    """

    column: str
    outcome: Outcome
    rows: int
    psi: float | None = None
    p_value: float | None = None
    nulls: float | None = None
    new_values: list[str] = field(default_factory=list)

    @property
    def drifted(self) -> bool:
        """Whether this outcome calls for attention."""
        return self.outcome in ("drifted", "new_categories", "all_null", "constant")

    def as_json(self) -> dict[str, Any]:
        """The comparison as plain JSON."""
        return {**asdict(self), "drifted": self.drifted}


@dataclass(frozen=True)
class _Counts:
    """Rows of both sides by bin, the current ones by day too; the last bin counts nulls.

    reference: [bins]; by_day: [days, bins]; new_rows: rows with values that training did not see.
    """

    reference: Floats
    by_day: Floats
    new_values: list[str] = field(default_factory=list)
    new_rows: float = 0.0

    @property
    def current(self) -> Floats:
        """Rows of late by bin, all days together."""
        return np.asarray(self.by_day.sum(axis=0))


def compare(
    reference: Mapping[str, Any],
    table: Any,
    columns: Mapping[str, FeatureSpec],
    spec: DriftSpec,
    logged: Collection[str] | None = None,
) -> list[ColumnDrift]:
    """Compare each declared column of a table (which has an event_time) with its reference profile.

    `reference` is a bundle's reference.json as read: a profile by column name. The false-alarm rate
    is shared out over all watched columns (Bonferroni), so that it holds for them together.
    `logged`: the columns that the prediction log keeps, None for all; others are not watched.
    """
    watched = [name for name in columns if logged is None or name in logged]
    per_column = spec.model_copy(update={"significance": spec.significance / max(1, len(watched))})
    return [
        _compare_column(name, kind, reference.get(name), table, per_column)
        if name in watched
        else ColumnDrift(name, "not_logged", table.num_rows)
        for name, kind in columns.items()
    ]


def _compare_column(
    name: str,
    kind: FeatureSpec,
    profile: Mapping[str, Any] | None,
    table: Any,
    spec: DriftSpec,
) -> ColumnDrift:
    rows = table.num_rows
    if profile is None or not _fits(profile, kind):
        return ColumnDrift(name, "no_reference", rows)
    if rows < spec.min_rows:
        return ColumnDrift(name, "too_few_rows", rows)
    known = name in table.schema.names
    values = table[name] if known else pa.chunked_array([pa.nulls(rows)])
    days = _day_places(table)
    by_kind = _category_counts if kind.type == "category" else _number_counts
    counts = by_kind(profile, values, days)
    psi = stability_index(counts.reference, counts.current)
    p_value = two_sample_p(counts.reference, counts.by_day)
    moved = psi >= spec.effect and p_value < spec.significance
    return ColumnDrift(
        column=name,
        outcome=_outcome(counts, values, moved=moved, effect=spec.effect),
        rows=rows,
        psi=psi,
        p_value=p_value,
        nulls=float(counts.current[-1] / rows),
        new_values=counts.new_values,
    )


def _fits(profile: Mapping[str, Any], kind: FeatureSpec) -> bool:
    """Whether a profile is of this kind of column; bundles of older releases had other ones."""
    words = profile.get("type") == "category"
    return words == (kind.type == "category") and (words or "cells" in profile)


def _day_places(table: Any) -> Places:
    """The place of each row's day among the table's days, from 0."""
    moments = table["event_time"].to_numpy(zero_copy_only=False)
    return np.unique(moments.astype("datetime64[D]"), return_inverse=True)[1]


def _outcome(counts: _Counts, values: Any, *, moved: bool, effect: float) -> Outcome:
    if not moved:
        return "stable"
    if counts.current[:-1].sum() == 0:
        return "all_null"
    if pc.count_distinct(values, mode="only_valid").as_py() == 1 and _varied(counts.reference):
        return "constant"
    if counts.new_rows:
        # Without the new values, would the column still have drifted?
        known = counts.current.copy()
        known[-2] -= counts.new_rows
        if stability_index(counts.reference, known) < effect:
            return "new_categories"
    return "drifted"


def _varied(counts: Floats) -> bool:
    return int(np.count_nonzero(counts[:-1])) > 1


def _number_counts(profile: Mapping[str, Any], values: Any, days: Places) -> _Counts:
    """Counts over the reference's quantile bins; values outside go to the outermost ones."""
    numbers = np.asarray(
        pc.fill_null(pc.cast(values, pa.float64()), float("nan")), dtype=np.float64
    )
    valid = np.isfinite(numbers)
    edges, counts = read_number(profile).bins(_BINS)
    if len(edges) > 1:
        before = counts.tolist()
        # As numpy.histogram bins: a value on an inner edge belongs to the bin above it.
        above = np.searchsorted(edges, numbers, side="right") - 1
        places = np.clip(above, 0, len(edges) - 2)
    elif len(edges) == 1:
        # Training saw one value: below it, that value, above it.
        before = [0.0, float(profile["count"]), 0.0]
        places = 1 + np.sign(np.where(valid, numbers - edges[0], 0)).astype(np.int64)
    else:
        before = [0.0]
        places = np.zeros(len(numbers), dtype=np.int64)
    return _Counts(
        reference=np.asarray([*before, float(profile["nulls"])]),
        by_day=_by_day(np.where(valid, places, len(before)), days, len(before) + 1),
    )


def _category_counts(profile: Mapping[str, Any], values: Any, days: Places) -> _Counts:
    """Counts over the reference's top values, then all others, then nulls ("" is null too)."""
    top: dict[str, float] = {value: count for value, count in profile["top"].items() if value}
    coded = pc.fill_null(pc.cast(values, pa.string()), "").combine_chunks().dictionary_encode()
    present, codes = coded.dictionary.to_pylist(), coded.indices.to_numpy(zero_copy_only=False)
    place_of = {value: place for place, value in enumerate(top)} | {"": len(top) + 1}
    places = np.asarray([place_of.get(value, len(top)) for value in present], dtype=np.int64)[codes]
    by_day = _by_day(places, days, len(top) + 2)
    other = float(profile["other"])
    # A profile that folds rare values into `other` cannot say which of them were seen.
    unseen = places == len(top) if other == 0 else np.zeros(len(places), dtype=bool)
    new, counts = np.unique(codes[unseen], return_counts=True)
    return _Counts(
        reference=np.asarray(
            [*top.values(), other, float(profile["nulls"]) + float(profile["top"].get("", 0))]
        ),
        by_day=by_day,
        new_values=[str(present[code]) for code in new[np.argsort(-counts)][:_SHOWN]],
        new_rows=float(unseen.sum()),
    )


def _by_day(places: Places, days: Places, bins: int) -> Floats:
    """How many rows fall into each bin on each day: [days, bins]."""
    count = int(days.max()) + 1 if len(days) else 0
    flat = np.bincount(days * bins + places, minlength=count * bins)
    return flat.reshape(count, bins).astype(np.float64)
