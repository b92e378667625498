"""Compares the inputs of late with the profile of the training data, column by column.

A column has drifted only when the change is both large (population stability index at or above the
declared effect) and beyond chance (chi-square on binned counts, at the declared false-alarm rate
divided by the number of columns). The effect is the guard that matters: rows of one day are alike
(the weather of an hour is that of its neighbours), so the test alone, which takes rows for
independent, calls far too many nights significant.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy import stats

from ferryman.spec.data import FeatureSpec
from ferryman.spec.model import DriftSpec

Outcome = Literal[
    "stable", "drifted", "new_categories", "all_null", "constant", "too_few_rows", "no_reference"
]
_SHOWN = 10


@dataclass(frozen=True)
class ColumnDrift:
    """One column's comparison.

    outcome: `stable` and `drifted` speak for themselves; `new_categories` is drift that values the
    training data never had account for; `all_null` and `constant` are columns that lost all values,
    or all variety, and had them in training; `too_few_rows` and `no_reference` could not be judged.
    psi: population stability index (None where not judged); p_value: of the chi-square test, not
    corrected; nulls: their share now; new_values: up to ten categories that training did not see.
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
    """Rows of both sides by bin; the last bin counts nulls."""

    reference: NDArray[np.float64]
    current: NDArray[np.float64]
    new_values: list[str] = field(default_factory=list)
    new_rows: float = 0.0


def compare(
    reference: Mapping[str, Any],
    table: Any,
    columns: Mapping[str, FeatureSpec],
    spec: DriftSpec,
) -> list[ColumnDrift]:
    """Compare each declared column of a table with its reference profile.

    `reference` is a bundle's reference.json as read: a profile by column name. The false-alarm rate
    is shared out over all declared columns (Bonferroni), so that it holds for them together.
    """
    per_column = spec.model_copy(update={"significance": spec.significance / max(1, len(columns))})
    return [
        _compare_column(name, kind, reference.get(name), table, per_column)
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
    if profile is None:
        return ColumnDrift(name, "no_reference", rows)
    if rows < spec.min_rows:
        return ColumnDrift(name, "too_few_rows", rows)
    values = table[name] if name in table.schema.names else pa.nulls(rows)
    counts = _category_counts(profile, values) if kind.type == "category" else None
    counts = counts or _number_counts(profile, values)
    psi = stability_index(counts.reference, counts.current)
    p_value = two_sample_p(counts.reference, counts.current)
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


def _varied(counts: NDArray[np.float64]) -> bool:
    return int(np.count_nonzero(counts[:-1])) > 1


def stability_index(reference: NDArray[np.float64], current: NDArray[np.float64]) -> float:
    """The population stability index of two rows of counts over the same bins; 0 is no change.

    Half a row is added to each bin, so that an empty bin does not make it infinite. Source:
    Siddiqi, Credit Risk Scorecards (2006); the usual reading is 0.1 some change, 0.25 a large one.
    """
    used = (reference + current) > 0
    a, b = reference[used] + 0.5, current[used] + 0.5
    p, q = a / a.sum(), b / b.sum()
    return float(np.sum((q - p) * np.log(q / p)))


def two_sample_p(reference: NDArray[np.float64], current: NDArray[np.float64]) -> float:
    """The p-value of the chi-square test that two rows of counts come from one distribution."""
    used = (reference + current) > 0
    if int(used.sum()) < 2 or reference.sum() == 0 or current.sum() == 0:
        return 1.0
    table = np.vstack([reference[used], current[used]])
    return float(stats.chi2_contingency(table, correction=False).pvalue)


def _number_counts(profile: Mapping[str, Any], values: Any) -> _Counts:
    """Counts over the reference's quantile bins; values outside go to the outermost ones."""
    numbers = np.asarray(
        pc.fill_null(pc.cast(values, pa.float64()), float("nan")), dtype=np.float64
    )
    valid = numbers[np.isfinite(numbers)]
    nulls = len(numbers) - len(valid)
    edges = np.unique(np.asarray(profile.get("edges") or [], dtype=np.float64))
    before = [float(count) for count in profile.get("counts") or []]
    if len(edges) < 2 or len(before) != len(edges) - 1:
        return _single_value_counts(profile, valid, nulls)
    # As numpy.histogram bins: a value on an inner edge belongs to the bin above it.
    places = np.clip(np.searchsorted(edges, valid, side="right") - 1, 0, len(edges) - 2)
    now = np.bincount(places, minlength=len(edges) - 1).astype(np.float64)
    return _Counts(
        reference=np.asarray([*before, float(profile["nulls"])]),
        current=np.append(now, float(nulls)),
    )


def _single_value_counts(
    profile: Mapping[str, Any], valid: NDArray[np.float64], nulls: int
) -> _Counts:
    """Where training saw one value or none: below it, that value, above it."""
    only = profile.get("min")
    seen = float(sum(profile.get("counts") or [])) or float(profile["count"]) - float(
        profile["nulls"]
    )
    if only is None:
        return _Counts(
            reference=np.asarray([0.0, float(profile["nulls"])]),
            current=np.asarray([float(len(valid)), float(nulls)]),
        )
    now = [np.sum(valid < only), np.sum(valid == only), np.sum(valid > only), nulls]
    return _Counts(
        reference=np.asarray([0.0, seen, 0.0, float(profile["nulls"])]),
        current=np.asarray([float(count) for count in now]),
    )


def _category_counts(profile: Mapping[str, Any], values: Any) -> _Counts:
    """Counts over the reference's top values, then all others, then nulls ("" is null too)."""
    top: dict[str, float] = dict(profile.get("top") or {})
    found = {
        str(entry["values"]): float(entry["counts"])
        for entry in pc.value_counts(pc.drop_null(pc.cast(values, pa.string()))).to_pylist()
        if entry["values"] != ""
    }
    other = {value: count for value, count in found.items() if value not in top}
    before_other = float(profile.get("other") or 0)
    # A profile that folds rare values into `other` cannot say which of them were seen.
    new = dict(sorted(other.items(), key=lambda entry: -entry[1])) if before_other == 0 else {}
    present = sum(found.values())
    return _Counts(
        reference=np.asarray(
            [
                *(float(count) for value, count in top.items() if value != ""),
                before_other,
                float(profile["nulls"]) + float(top.get("", 0.0)),
            ]
        ),
        current=np.asarray(
            [
                *(found.get(value, 0.0) for value in top if value != ""),
                sum(other.values()),
                float(len(values)) - present,
            ]
        ),
        new_values=list(new)[:_SHOWN],
        new_rows=sum(new.values()),
    )
