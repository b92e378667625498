"""A column's rows of late beside its profile of before: counts by bin and day, and how far apart.

Numbers are counted over the profile's quantile bins, categories over its most frequent values; the
last bin counts nulls, which NaN, infinities and "" are too.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ferryman.profiles.number_profile import read_number
from ferryman.profiles.quantile_sketch import QuantileSketch
from ferryman.profiles.two_samples import design_effect

Floats = NDArray[np.float64]
Places = NDArray[np.int64]
_SHOWN = 10
_BINS = 10


@dataclass(frozen=True)
class ColumnCounts:
    """Rows of both sides by bin, those of late by day too; the last bin counts nulls.

    reference: [bins]; by_day: [days, bins]; moved: the share of rows with a value that would have
    to move to make one side the other (Kolmogorov's distance of numbers, total variation of
    categories); distinct: different values of late; new_rows: rows with values that were not
    there before, and up to ten of these; told: what has changed, in words.
    """

    reference: Floats
    by_day: Floats
    moved: float
    distinct: int
    told: str
    new_values: list[str] = field(default_factory=list)
    new_rows: float = 0.0

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


def number_counts(profile: Mapping[str, Any], values: Any, days: Places) -> ColumnCounts:
    """Counts over the reference's quantile bins; values outside go to the outermost ones.

    Raises pyarrow's ArrowInvalid where the values are text that is no number.
    """
    numbers = np.asarray(
        pc.fill_null(pc.cast(values, pa.float64()), float("nan")), dtype=np.float64
    )
    valid = np.isfinite(numbers)
    before = read_number(profile)
    edges, counts = before.bins(_BINS)
    if len(edges) > 1:
        rows = counts.tolist()
        # As numpy.histogram bins: a value on an inner edge belongs to the bin above it.
        above = np.searchsorted(edges, numbers, side="right") - 1
        places = np.clip(above, 0, len(edges) - 2)
    elif len(edges) == 1:
        # There was one value: below it, that value, above it.
        rows = [0.0, float(before.count), 0.0]
        places = 1 + np.sign(np.where(valid, numbers - edges[0], 0)).astype(np.int64)
    else:
        rows = [0.0]
        places = np.zeros(len(numbers), dtype=np.int64)
    present = np.sort(numbers[valid])
    mean = f"{present.mean():.4g}" if len(present) else "none"
    return ColumnCounts(
        reference=np.asarray([*rows, float(before.nulls)]),
        by_day=by_day(np.where(valid, places, len(rows)), days, len(rows) + 1),
        moved=_kolmogorov(before.sketch, present),
        distinct=len(np.unique(present)),
        told=f"mean {mean}, was {'none' if before.mean is None else format(before.mean, '.4g')}",
    )


def category_counts(profile: Mapping[str, Any], values: Any, days: Places) -> ColumnCounts:
    """Counts over the reference's top values, then all others, then nulls ("" is null too)."""
    top: dict[str, float] = {value: count for value, count in profile["top"].items() if value}
    text = pc.fill_null(pc.cast(values, pa.string()), "")
    coded = (
        text.combine_chunks() if isinstance(text, pa.ChunkedArray) else text
    ).dictionary_encode()
    present, codes = coded.dictionary.to_pylist(), coded.indices.to_numpy(zero_copy_only=False)
    place_of = {value: place for place, value in enumerate(top)} | {"": len(top) + 1}
    places = np.asarray([place_of.get(value, len(top)) for value in present], dtype=np.int64)
    places = places[codes] if len(codes) else np.zeros(0, dtype=np.int64)
    other = float(profile["other"])
    # A profile that folds rare values into `other` cannot say which of them were seen.
    unseen = places == len(top) if other == 0 else np.zeros(len(places), dtype=bool)
    new, counts = np.unique(codes[unseen], return_counts=True)
    nulls = float(profile["nulls"]) + float(profile["top"].get("", 0))
    reference = np.asarray([*top.values(), other, nulls])
    rows = by_day(places, days, len(top) + 2)
    return ColumnCounts(
        reference=reference,
        by_day=rows,
        moved=_total_variation(reference, rows),
        distinct=sum(1 for value in present if value),
        told=_most_changed([*top, "other values"], reference[:-1], rows.sum(axis=0)[:-1]),
        new_values=[
            str(present[code]) for code in new[np.argsort(-counts, kind="stable")][:_SHOWN]
        ],
        new_rows=float(unseen.sum()),
    )


def by_day(places: Places, days: Places, bins: int) -> Floats:
    """How many rows fall into each bin on each day: [days, bins]; days are counted from 0."""
    count = int(days.max()) + 1 if len(days) else 0
    flat = np.bincount(days * bins + places, minlength=count * bins)
    return flat.reshape(count, bins).astype(np.float64)


def _kolmogorov(before: QuantileSketch | None, present: Floats) -> float:
    """The largest difference of the shares at or below a value; `present` is in order."""
    if before is None or not len(present):
        return 0.0 if before is None and not len(present) else 1.0
    at = np.unique(np.concatenate([present, before.places]))
    upto = np.searchsorted(present, at, side="right") / len(present)
    below = np.searchsorted(present, at, side="left") / len(present)
    apart = np.abs(before.shares_below(at) - upto).max()
    return float(max(apart, np.abs(before.shares_below(at, included=False) - below).max()))


def _total_variation(reference: Floats, days: Floats) -> float:
    """Half the sum of differences of shares, without what chance adds to each."""
    one, other, valued = reference[:-1], days.sum(axis=0)[:-1], days[:, :-1]
    rows, others = one.sum(), other.sum()
    if not rows or not others:
        return 0.0 if rows == others else 1.0
    p, q = one / rows, other / others
    chance = design_effect(valued) * (p * (1 - p) / rows + q * (1 - q) / others)
    return float(np.sqrt(np.maximum(0, (p - q) ** 2 - chance)).sum() / 2)


def _most_changed(names: list[str], one: Floats, other: Floats) -> str:
    p, q = one / max(1.0, one.sum()), other / max(1.0, other.sum())
    most = int(np.argmax(np.abs(p - q)))
    return f"{names[most][:60]!r} {q[most]:.1%} of values, was {p[most]:.1%}"


def _last_share(counts: Floats) -> float:
    total = float(counts.sum())
    return float(counts[-1]) / total if total else 0.0
