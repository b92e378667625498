"""How far the distances told from stored profiles lie from those of the rows themselves."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from scipy import stats

from benchmarks.drift.made_columns import INTEGERS, NUMBERS
from ferryman.profiles.column_profile import ColumnProfile, merge_profiles, read_column
from ferryman.profiles.comparison import compare_columns
from ferryman.profiles.profiled_columns import profile_column
from ferryman.profiles.reference_bins import bins_of
from ferryman.profiles.two_samples import stability_index
from ferryman.spec.data import FeatureSpec

_DAYS = 7
_MOVED = 0.3
_EXACT = 1e-12


@dataclass(frozen=True)
class Errors:
    """One column's: Kolmogorov absolute; stability and Wasserstein relative, and of what."""

    kolmogorov: float
    stability: float
    wasserstein: float
    exact: tuple[float, float, float]


def constant(_: np.random.Generator, rows: int, moved: float) -> np.ndarray:
    return np.full(rows, 7.25 + moved)


SHAPES = {**NUMBERS, "constant": constant}


def errors(shape: str, rows: int, *, merged: bool) -> Errors:
    """Of a reference and a moved column of so many rows, in one part or merged of a week's days."""
    random = np.random.default_rng(rows)
    before, now = (np.asarray(SHAPES[shape](random, rows, moved)) for moved in (0.0, _MOVED))
    spec = FeatureSpec(type="integer" if shape in INTEGERS else "number")
    parts = np.array_split(now, _DAYS) if merged else [now]
    one = _stored(before, spec)
    other = merge_profiles([{"x": _stored(part, spec)} for part in parts])["x"]
    told = compare_columns(one, other)
    before, now = before[np.isfinite(before)], now[np.isfinite(now)]
    distance = float(stats.ks_2samp(before, now).statistic)
    moved = float(stats.wasserstein_distance(before, now))
    stability = stability_index(_counts(one, before, rows), _counts(one, now, rows))
    return Errors(
        abs((told.distance or 0.0) - distance),
        abs(told.stability - stability) / max(stability, _EXACT),
        abs((told.moved or 0.0) - moved) / max(moved, _EXACT),
        (distance, stability, moved),
    )


def _stored(values: np.ndarray, spec: FeatureSpec) -> ColumnProfile:
    chunk = pa.array(values, from_pandas=True)
    return read_column(profile_column(spec, [chunk]).as_json())


def _counts(reference: ColumnProfile, values: np.ndarray, rows: int) -> np.ndarray:
    """Rows in the reference's own bins, counted exactly; the last bin counts nulls."""
    edges = bins_of(reference).edges
    if len(edges) == 1:
        inside = [(values < edges[0]).sum(), (values == edges[0]).sum(), (values > edges[0]).sum()]
    else:
        places = np.searchsorted(edges[1:-1], values, side="right")
        inside = np.bincount(places, minlength=len(edges) - 1)
    return np.asarray([*inside, rows - len(values)], dtype=np.float64)
