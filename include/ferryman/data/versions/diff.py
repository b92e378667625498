"""Compares two versions of data column by column, from the profiles that were made at ingest.

A column has changed only when the change is both beyond chance, at a false-alarm rate over all
columns together (Holm), and large enough to matter: at least LEAST_EFFECT of the rows would have to
change to undo it. Rows of one day are alike, so where both versions have five windows or more,
windows are compared with windows; else rows are taken as independent, and the result says so.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ferryman.data.versions.catalogue_entry import CatalogueEntry
from ferryman.data.versions.column_change import MIN_WINDOWS, ColumnChange, compare_column
from ferryman.profiles.column_profile import ColumnProfile, read_profile
from ferryman.profiles.two_samples import holm

LEAST_EFFECT = 0.05
ALPHA = 0.01

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Version:
    """A snapshot or dataset: its id, its rows, and the profile of each of its windows."""

    id: str
    rows: int
    windows: Sequence[Mapping[str, ColumnProfile]]


@dataclass(frozen=True)
class VersionDiff:
    """Two versions compared; pairs are (before, after)."""

    ids: tuple[str, str]
    rows: tuple[int, int]
    windows: tuple[int, int]
    alpha: float
    least_effect: float
    columns: list[ColumnChange]

    @property
    def changed(self) -> list[ColumnChange]:
        """The columns that are not the same, the largest effect first; new and gone ones lead."""
        found = [one for one in self.columns if one.verdict in ("changed", "new", "gone")]
        return sorted(found, key=lambda one: -(1.0 if one.effect is None else one.effect))

    @property
    def verdict(self) -> str:
        """`changed`, `too_few_rows` where no column could be judged, or `same`."""
        if self.changed:
            return "changed"
        judged = any(one.verdict == "same" for one in self.columns)
        return "same" if judged or not self.columns else "too_few_rows"

    @property
    def basis(self) -> str:
        """What was taken as independent, in words."""
        if min(self.windows) >= MIN_WINDOWS:
            return "windows were compared with windows"
        return (
            f"rows were taken as independent: fewer than {MIN_WINDOWS} windows on a side, so that "
            "days that differ as days do may count as a change"
        )

    def as_json(self) -> dict[str, Any]:
        """The comparison as JSON values."""
        return {
            "verdict": self.verdict,
            "before": self.ids[0],
            "after": self.ids[1],
            "rows": list(self.rows),
            "windows": list(self.windows),
            "alpha": self.alpha,
            "least_effect": self.least_effect,
            "basis": self.basis,
            "columns": [one.as_json() for one in self.columns],
        }

    def summary(self) -> dict[str, Any]:
        """What is stored with a version: the figures of changed columns alone."""
        kept = self.as_json()
        kept["columns"] = [one.as_json() for one in self.changed]
        kept["compared"] = len(self.columns)
        return kept


def compare_entries(before: CatalogueEntry, after: CatalogueEntry) -> dict[str, Any]:
    """What is stored of a snapshot's comparison with its parent; nothing without both profiles."""
    if not (before.profile and after.profile):
        return {}
    try:
        parent = Version(before.id, before.rows, [read_profile(_columns(before))])
    except (KeyError, TypeError, ValueError) as error:
        # An older form of the parent's profile must not stop a new window.
        logger.warning("snapshot %s: its profile is not readable: %r", before.id[:16], error)
        return {}
    return diff_versions(
        parent, Version(after.id, after.rows, [read_profile(_columns(after))])
    ).summary()


def _columns(entry: CatalogueEntry) -> Mapping[str, Any]:
    return entry.profile


def diff_versions(
    before: Version,
    after: Version,
    *,
    alpha: float = ALPHA,
    least_effect: float = LEAST_EFFECT,
) -> VersionDiff:
    """Compare two versions; no column is called changed by chance more often than `alpha`.

    The rate holds for all columns together, where the versions are drawn alike.
    """
    names = dict.fromkeys(name for side in (before, after) for one in side.windows for name in one)
    columns = [
        compare_column(
            name,
            [one[name] for one in before.windows if name in one],
            [one[name] for one in after.windows if name in one],
        )
        for name in names
    ]
    tested = [place for place, one in enumerate(columns) if one.p_value is not None]
    stands = holm(np.asarray([columns[place].p_value for place in tested], np.float64), alpha)
    for place, beyond_chance in zip(tested, stands, strict=True):
        one = columns[place]
        if beyond_chance and (one.effect or 0.0) >= least_effect:
            columns[place] = replace(one, verdict="changed")
    return VersionDiff(
        ids=(before.id, after.id),
        rows=(before.rows, after.rows),
        windows=(len(before.windows), len(after.windows)),
        alpha=alpha,
        least_effect=least_effect,
        columns=columns,
    )
