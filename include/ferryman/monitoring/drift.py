"""Compares the inputs of late with a profile of before, column by column.

A column has drifted only when the change is both large (see `drift_scale`) and beyond chance
(chi-square on binned counts, at the declared false-alarm rate divided by the number of columns).
Rows of one day are alike: all flights of an hour have the same weather. A test that takes rows for
independent would call every week of weather a drift, so the statistic is divided by how much more
the days differ from each other than days of independent rows would.
"""

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from ferryman.monitoring.drift_counts import (
    ColumnCounts,
    Floats,
    Places,
    category_counts,
    number_counts,
)
from ferryman.monitoring.drift_scale import LARGEST, normal_shift, rate_shift
from ferryman.profiles.two_samples import DaySpread, stability_index, two_sample_p
from ferryman.spec.data import FeatureSpec
from ferryman.spec.monitoring import DriftSpec

Outcome = Literal[
    "stable",
    "drifted",
    "new_categories",
    "all_null",
    "constant",
    "wrong_type",
    "no_rows",
    "too_few_rows",
    "no_reference",
    "not_logged",
]
DRIFTED = frozenset({"drifted", "new_categories", "all_null", "constant", "wrong_type"})


@dataclass(frozen=True)
class ColumnDrift:
    """One column's comparison.

    outcome: `stable` and `drifted` speak for themselves; `new_categories` is drift that values
    which were not there before account for; `all_null` and `constant` are columns that lost all
    values, or all variety, and had them before; `wrong_type` is text where numbers are declared;
    `no_rows`, `too_few_rows` and `no_reference` could not be judged, and `not_logged` is a column
    that the prediction log is not to keep.
    psi: population stability index (None where not judged); p_value: of the test, not yet corrected
    for the number of columns; nulls: their share now; new_values: up to ten categories that were
    not there before; effect: the largest change (see `drift_scale`), effect_name: of what.
    """

    column: str
    outcome: Outcome
    rows: int
    psi: float | None = None
    p_value: float | None = None
    nulls: float | None = None
    new_values: list[str] = field(default_factory=list)
    effect: float | None = None
    effect_name: str = ""
    text: str = ""

    @property
    def drifted(self) -> bool:
        """Whether this outcome calls for attention."""
        return self.outcome in DRIFTED

    def as_json(self) -> dict[str, Any]:
        """The comparison as plain JSON."""
        return {**asdict(self), "drifted": self.drifted}


def compare(  # noqa: PLR0913 - both sides, what is watched, and how days vary
    reference: Mapping[str, Any],
    table: Any,
    columns: Mapping[str, FeatureSpec],
    spec: DriftSpec,
    logged: Collection[str] | None = None,
    *,
    spreads: Mapping[str, DaySpread] | None = None,
) -> list[ColumnDrift]:
    """Compare each declared column of a table (which has an event_time) with its reference profile.

    `reference` is a bundle's reference.json as read: a profile by column name. The false-alarm rate
    is shared out over all watched columns (Bonferroni), so that it holds for them together.
    `logged`: the columns that the prediction log keeps, None for all; others are not watched.
    `spreads`: how the days of a column differ, where more is known of it than the table tells.
    """
    watched = [name for name in columns if logged is None or name in logged]
    per_column = spec.model_copy(update={"significance": spec.significance / max(1, len(watched))})
    return [
        _compare_column(
            name, kind, reference.get(name), table, per_column, (spreads or {}).get(name)
        )
        if name in watched
        else ColumnDrift(name, "not_logged", table.num_rows)
        for name, kind in columns.items()
    ]


def day_places(table: Any) -> Places:
    """The place of each row's day among the table's days, from 0."""
    moments = table["event_time"].to_numpy(zero_copy_only=False)
    return np.unique(moments.astype("datetime64[D]"), return_inverse=True)[1]


def count_by_day(
    reference: Mapping[str, Any], table: Any, columns: Mapping[str, FeatureSpec]
) -> dict[str, Floats]:
    """Each column's rows by day and bin of its reference profile, for `day_spread`.

    Columns without a fitting profile, or whose rows are of another type, are left out.
    """
    found = {}
    for name, kind in columns.items():
        profile = reference.get(name)
        if profile is not None and _fits(profile, kind) and table.num_rows:
            try:
                found[name] = _counts(name, kind, profile, table).by_day
            except pa.ArrowInvalid:
                continue
    return found


def _compare_column(  # noqa: PLR0913, PLR0917 - both sides, what is watched, and how days vary
    name: str,
    kind: FeatureSpec,
    profile: Mapping[str, Any] | None,
    table: Any,
    spec: DriftSpec,
    spread: DaySpread | None,
) -> ColumnDrift:
    rows = table.num_rows
    if profile is None or not _fits(profile, kind):
        return ColumnDrift(name, "no_reference", rows)
    if rows < spec.min_rows:
        return ColumnDrift(name, "too_few_rows" if rows else "no_rows", rows)
    try:
        counts = _counts(name, kind, profile, table)
    except pa.ArrowInvalid:
        text = f"{name} is text that is no number"
        return ColumnDrift(
            name, "wrong_type", rows, p_value=0.0, effect=LARGEST, effect_name="type", text=text
        )
    effects = _effects(counts, kind)
    effect_name = max(effects, key=lambda effect: effects[effect])
    effect = effects[effect_name]
    p_value = two_sample_p(counts.reference, counts.by_day, spread)
    moved = effect >= spec.effect and p_value < spec.significance
    return ColumnDrift(
        column=name,
        outcome=_outcome(counts, effects, moved=moved, effect=spec.effect),
        rows=rows,
        psi=stability_index(counts.reference, counts.current),
        p_value=p_value,
        nulls=counts.nulls[1],
        new_values=counts.new_values,
        effect=effect,
        effect_name=effect_name,
        text=_text(name, counts, effect_name),
    )


def _counts(name: str, kind: FeatureSpec, profile: Mapping[str, Any], table: Any) -> ColumnCounts:
    known = name in table.schema.names
    values = table[name] if known else pa.chunked_array([pa.nulls(table.num_rows)])
    counted = category_counts if kind.type == "category" else number_counts
    return counted(profile, values, day_places(table))


def _effects(counts: ColumnCounts, kind: FeatureSpec) -> dict[str, float]:
    """How much the values, the nulls and the unseen values have changed, all on one scale."""
    before, now = counts.nulls
    # Where nothing but nulls is left, the nulls tell it.
    shift = normal_shift(counts.moved) if now < 1 else 0.0
    found = {"shift": shift, "nulls": rate_shift(before, now)}
    if kind.type == "category":
        found["unseen"] = rate_shift(0.0, counts.unseen)
    return found


def _fits(profile: Mapping[str, Any], kind: FeatureSpec) -> bool:
    """Whether a profile is of this kind of column; bundles of older releases had other ones."""
    words = profile.get("type") == "category"
    return words == (kind.type == "category") and (words or "cells" in profile)


def _outcome(
    counts: ColumnCounts, effects: Mapping[str, float], *, moved: bool, effect: float
) -> Outcome:
    if not moved:
        return "stable"
    if counts.current[:-1].sum() == 0:
        return "all_null"
    if counts.distinct == 1 and np.count_nonzero(counts.reference[:-1]) > 1:
        return "constant"
    if counts.new_rows and effects["nulls"] < effect:
        # Without the new values, would the column still have drifted?
        known = counts.by_day.copy()
        known[:, -2] = 0
        if not known.any() or _shift_of(counts.reference, known) < effect:
            return "new_categories"
    return "drifted"


def _shift_of(reference: Floats, known: Floats) -> float:
    one, other = reference[:-1] / reference[:-1].sum(), known.sum(axis=0)[:-1]
    return normal_shift(float(np.abs(one - other / max(1.0, other.sum())).sum() / 2))


def _text(name: str, counts: ColumnCounts, effect_name: str) -> str:
    before, now = counts.nulls
    if effect_name == "nulls":
        return f"{name}: {now:.1%} nulls, was {before:.1%}"
    if effect_name == "unseen":
        values = ", ".join(repr(value[:40]) for value in counts.new_values[:3])
        return f"{name}: {counts.unseen:.1%} of rows have values never seen before: {values}"
    return f"{name}: {counts.told}"
