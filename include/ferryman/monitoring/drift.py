"""Compares the inputs of late with a profile of before, column by column.

A column has drifted only when the change is both large (see `drift_scale`) and beyond chance
(chi-square on binned counts, at the declared false-alarm rate divided by the number of columns).
Rows of one day are alike: all flights of an hour have the same weather. A test that takes rows for
independent would call every week of weather a drift, so the statistic is divided by how much more
the days differ from each other than days of independent rows would.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import numpy as np

from ferryman.monitoring.drift_counts import ColumnCounts, Floats, count_column
from ferryman.monitoring.drift_scale import LARGEST, normal_shift, rate_shift
from ferryman.profiles.category_profile import CategoryProfile
from ferryman.profiles.column_profile import ColumnProfile, Profile, read_column
from ferryman.profiles.comparison import named_in
from ferryman.profiles.day_profiles import profile_days, rows_of
from ferryman.profiles.reference_bins import bins_of
from ferryman.profiles.trained_days import TrainedDays
from ferryman.profiles.two_samples import (
    MANY_DAYS,
    DaySpread,
    day_spread,
    stability_index,
    two_sample_p,
)
from ferryman.spec.data import FeatureSpec
from ferryman.spec.monitoring import DriftSpec

Outcome = Literal[
    "stable",
    "partly_compared",
    "drifted",
    "new_categories",
    "unit",
    "all_null",
    "constant",
    "wrong_type",
    "no_rows",
    "too_few_rows",
    "too_few_days",
    "no_reference",
    "not_logged",
]
_LEAST_DAYS = 4
_RARE = {"nulls": -1, "unseen": -2}  # bins of their own
DRIFTED = frozenset({"drifted", "new_categories", "unit", "all_null", "constant", "wrong_type"})


@dataclass(frozen=True)
class ColumnDrift:
    """One column's comparison.

    outcome: `stable` and `drifted` speak for themselves; `partly_compared` has not drifted as far
    as can be seen, but a change among values too rare to be kept by name might be as large as the
    declared effect; `new_categories` is drift that values which were not there before account for;
    `unit` is a column that came in another unit (see `drift_units`); `all_null` and `constant` are
    columns that lost all values, or all variety, and had them before; `wrong_type` is text where
    numbers are declared; `no_rows`, `too_few_rows`, `too_few_days` and `no_reference` could not be
    judged, and `not_logged` is a column that the prediction log is not to keep.
    psi: population stability index (None where not judged); p_value: of the test, not yet corrected
    for the number of columns; nulls: their share now; new_values: up to ten categories that were
    not there before; effect: the largest change (see `drift_scale`), effect_name: of what;
    together: the share of the reference's rows with values too rare to be kept by name.
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
    together: float = 0.0

    def unmoved(self, least: float) -> Outcome:
        """What to call it where it has not drifted, as far as can be seen."""
        return "partly_compared" if normal_shift(self.together) >= least else "stable"

    @property
    def drifted(self) -> bool:
        """Whether this outcome calls for attention."""
        return self.outcome in DRIFTED

    def as_json(self) -> dict[str, Any]:
        """The comparison as plain JSON."""
        return {**asdict(self), "drifted": self.drifted}


def compare(
    reference: Mapping[str, Any],
    table: Any,
    columns: Mapping[str, FeatureSpec],
    spec: DriftSpec,
    logged: Collection[str] | None = None,
) -> list[ColumnDrift]:
    """Compare each declared column of a table (which has an event_time) with its reference profile.

    `reference` is a bundle's reference.json as read: a profile by column name. `logged`: the
    columns that the prediction log keeps, None for all; others are not watched.
    """
    watched = {name: kind for name, kind in columns.items() if logged is None or name in logged}
    before = known_profiles(reference, watched)
    days = profile_days(table, watched, named_in(before))
    found = compare_days(before, list(days.values()), watched, spec)
    missing = ColumnDrift("", "not_logged", table.num_rows)
    by_name = {column.column: column for column in found}
    return [by_name.get(name, replace(missing, column=name)) for name in columns]


def compare_days(  # noqa: PLR0913 - both sides, what is watched, and how days differ
    reference: Profile,
    days: Sequence[Profile],
    columns: Mapping[str, FeatureSpec],
    spec: DriftSpec,
    *,
    quiet: Sequence[Profile] | None = None,
    trained: Mapping[str, TrainedDays] | None = None,
) -> list[ColumnDrift]:
    """Compare the profiles of days with that of before, each watched column.

    The false-alarm rate is shared out over the columns (Bonferroni), so that it holds for them
    together. `quiet`: days that tell how days differ, where it is not the same days; `trained`:
    how those of the training data did, which counts while there are few quiet days.
    """
    rate = spec.significance / max(1, len(columns))
    rows = sum(rows_of(day) for day in days)
    found = []
    for name, kind in columns.items():
        before = reference.get(name)
        if before is None or isinstance(before, CategoryProfile) != (kind.type == "category"):
            found.append(ColumnDrift(name, "no_reference", rows))
        elif rows < spec.min_rows:
            found.append(ColumnDrift(name, "too_few_rows" if rows else "no_rows", rows))
        else:
            own = [day[name] for day in days if name in day]
            others = None if quiet is None else [day[name] for day in quiet if name in day]
            spread = _spread(before, own, others, (trained or {}).get(name))
            found.append(
                _compare_column(name, (before, own), (spread, others), rate, spec.effect)
                if spread.days or others is None
                else ColumnDrift(name, "too_few_days", rows)
            )
    return found


def known_profiles(reference: Mapping[str, Any], columns: Iterable[str]) -> Profile:
    """The profiles of a bundle's reference.json but those in a form of older releases."""
    kept = {name: reference[name] for name in columns if name in reference}
    return {
        name: read_column(stored)
        for name, stored in kept.items()
        if stored.get("type") == "category" or "cells" in stored
    }


def _spread(
    before: ColumnProfile,
    own: Sequence[ColumnProfile],
    quiet: Sequence[ColumnProfile] | None,
    trained: TrainedDays | None,
) -> DaySpread:
    """How days differ: told by quiet days, by the training data, or by the days themselves.

    Of no days where a break cannot be told from how days differ: one day beside two or three.
    """
    bins = bins_of(before)
    fitting = [day for day in (own if quiet is None else quiet) if bins.fits(day)]
    if len(fitting) < MANY_DAYS and trained is not None:
        rows = sum(day.rows for day in own) / max(1, len(own))
        return trained.spread.for_days_of(rows / trained.rows)
    alone = quiet is not None and len(own) == 1 and not any(day is own[0] for day in fitting)
    if alone and len(fitting) < _LEAST_DAYS:
        return DaySpread(0)
    return day_spread(bins.by_day(fitting), strict=alone)


def _compare_column(
    name: str,
    sides: tuple[ColumnProfile, Sequence[ColumnProfile]],
    usual: tuple[DaySpread, Sequence[ColumnProfile] | None],
    rate: float,
    least: float,
) -> ColumnDrift:
    before, days = sides
    spread, quiet = usual
    rows = sum(day.rows for day in days)
    counts = count_column(before, days)
    if counts is None:
        text = f"{name}: text where numbers are declared"
        return ColumnDrift(
            name, "wrong_type", rows, p_value=0.0, effect=LARGEST, effect_name="type", text=text
        )
    effects = _effects(counts)
    effect_name = max(effects, key=lambda effect: effects[effect])
    effect = effects[effect_name]
    p_value = two_sample_p(counts.reference, counts.by_day, spread)
    # How values differ from day to day must not hide nulls, or new values, that no day had. Where
    # nulls have gone, the days without them do not tell on how few days they were.
    more = {"nulls": counts.nulls[1] > counts.nulls[0], "unseen": True}
    for rare in [rare for rare in _RARE if more[rare] and effects[rare] >= least]:
        sure = _rare_p(before, counts, days if quiet is None else quiet, _RARE[rare])
        if sure < p_value:
            effect_name, effect, p_value = rare, effects[rare], sure
    moved = effect >= least and p_value < rate
    told = ColumnDrift(
        column=name,
        outcome=_outcome(counts, effects, least) if moved else "stable",
        rows=rows,
        psi=stability_index(counts.reference, counts.current),
        p_value=p_value,
        nulls=counts.nulls[1],
        new_values=counts.new_values,
        effect=effect,
        effect_name=effect_name,
        text=_text(name, counts, effect_name),
        together=counts.together,
    )
    return told if moved else replace(told, outcome=told.unmoved(least))


def _rare_p(
    before: ColumnProfile, counts: ColumnCounts, quiet: Sequence[ColumnProfile], place: int
) -> float:
    """The p-value of the share of one bin alone, times all tests; `quiet`: days that tell of it.

    1 where there are fewer than four of them.
    """
    bins = bins_of(before)
    usual = bins.by_day([day for day in quiet if bins.fits(day)])
    if len(usual) < _LEAST_DAYS:
        return 1.0
    one, days, others = (
        np.column_stack([table.sum(axis=1) - table[:, place], table[:, place]])
        for table in (counts.reference[None, :], counts.by_day, usual)
    )
    spread = day_spread(others, strict=len(days) == 1)
    return min(1.0, (1 + len(_RARE)) * two_sample_p(one[0], days, spread))


def _effects(counts: ColumnCounts) -> dict[str, float]:
    """How much the values, the nulls and the unseen values have changed, all on one scale."""
    before, now = counts.nulls
    return {
        # Where nothing but nulls is left, the nulls tell it.
        "shift": normal_shift(counts.moved) if now < 1 else 0.0,
        "nulls": rate_shift(before, now),
        "unseen": rate_shift(0.0, counts.unseen),
    }


def _outcome(counts: ColumnCounts, effects: Mapping[str, float], effect: float) -> Outcome:
    """What to call a drift of at least `effect`."""
    if counts.current[:-1].sum() == 0:
        return "all_null"
    if counts.constant:
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
