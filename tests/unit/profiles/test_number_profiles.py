"""A sketch against all of its rows: shares, distances and moments, streamed and merged."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from ferryman.profiles.distances import kolmogorov_distance, wasserstein_distance
from ferryman.profiles.number_profile import (
    NumberCounter,
    NumberProfile,
    merge_numbers,
    read_number,
)
from ferryman.profiles.quantile_sketch import QuantileSketch, resolution_for
from ferryman.profiles.two_samples import stability_index

Values = np.ndarray
Make = Callable[[np.random.Generator, int], Values]
ROWS = 90_000
SHAPES: dict[str, Make] = {
    "even": lambda r, n: r.normal(0, 1, n),
    "skewed": lambda r, n: r.lognormal(0, 1.5, n),
    "very skewed": lambda r, n: r.lognormal(0, 3, n),
    "mostly zero": lambda r, n: np.where(r.random(n) < 0.93, 0.0, r.exponential(1, n)),
    "three lumps": lambda r, n: np.where(r.random(n) < 0.3, r.integers(0, 3, n), r.normal(0, 5, n)),
    "minutes": lambda r, n: r.integers(0, 1440, n).astype(float),
    "rounded": lambda r, n: np.round(r.normal(50, 15, n), 1),
    "offset": lambda r, n: 1e9 + r.normal(0, 1, n),
    "tiny": lambda r, n: r.normal(0, 1e-200, n),
    "huge": lambda r, n: np.where(
        r.random(n) < 0.001, r.choice([-1e300, 1e300], n), r.normal(0, 1, n)
    ),
    "sorted": lambda _, n: np.arange(n, dtype=float),
    "two far ends": lambda r, n: r.choice([-1.0, 1.0], n) * r.lognormal(0, 8, n),
    "turning": lambda r, n: np.concatenate(
        [r.normal(0, 1, n // 2), np.full(n // 4, 0.1234), r.normal(90, 1e-6, n - n // 2 - n // 4)]
    ),
    "constant": lambda _, n: np.full(n, 7.25),
}


def profile(values: Values) -> NumberProfile:
    counter = NumberCounter("number")
    counter.add(values)
    return counter.profile()


def stored(one: NumberProfile) -> NumberProfile:
    return read_number(one.as_json())


def sketch_of(values: Values) -> QuantileSketch:
    sketch = stored(profile(values)).sketch
    assert sketch is not None
    return sketch


def share_error(one: NumberProfile, values: Values) -> float:
    """The largest error of the share of rows at or below, and below, any value of the rows."""
    ordered = np.sort(values)
    places = np.unique(ordered)
    assert one.sketch is not None
    errors = [
        np.abs(
            one.sketch.shares_below(places, included=side == "right")
            - np.searchsorted(ordered, places, side=side) / len(ordered)
        ).max()
        for side in ("left", "right")
    ]
    return float(max(errors))


@pytest.mark.parametrize("shape", SHAPES)
def test_shares_are_within_the_bound(shape: str) -> None:
    values = SHAPES[shape](np.random.default_rng(1), ROWS)
    assert share_error(stored(profile(values)), values) <= 2 / 1000
    merged = merge_numbers([stored(profile(part)) for part in np.array_split(values, 15)])
    bound = 1 / resolution_for(ROWS // 15) + 1 / 1000
    assert share_error(merged, values) <= bound
    assert share_error(stored(merged), values) <= bound + 1 / 1000
    assert (merged.count, merged.low, merged.high) == (ROWS, values.min(), values.max())


@pytest.mark.parametrize("shape", SHAPES)
def test_moments_are_those_of_the_rows_and_merge_exactly(shape: str) -> None:
    values = SHAPES[shape](np.random.default_rng(2), ROWS)
    unit = np.abs(values).max()
    exact = (values / unit).astype(np.longdouble)
    whole = profile(values)
    for one in (whole, merge_numbers([profile(part) for part in np.array_split(values, 15)])):
        assert one.mean is not None
        assert one.std is not None
        assert one.mean / unit == pytest.approx(float(exact.mean()), rel=1e-12, abs=1e-15)
        assert one.std / unit == pytest.approx(float(exact.std()), rel=1e-9, abs=1e-25)


def test_the_variance_of_a_far_offset_is_not_lost() -> None:
    found = profile(1e9 + np.tile([-1.0, 1.0], 50_000))
    assert (found.mean, found.std) == (1e9, 1.0)


@pytest.mark.parametrize("count", [1, 2, 3, 50])
def test_a_tiny_sample_is_kept_as_it_is(count: int) -> None:
    values = np.random.default_rng(count).normal(0, 1, count)
    found = stored(profile(values)).sketch
    assert found is not None
    assert found.values.tolist() == sorted(values)
    assert found.pure.all()


@pytest.mark.parametrize("share", [0.93, 0.4, 0.01])
def test_a_frequent_value_keeps_exactly_its_rows(share: float) -> None:
    random = np.random.default_rng(3)
    values = np.where(random.random(ROWS) < share, 0.1, random.normal(0, 1, ROWS))
    found = sketch_of(values)
    at = np.flatnonzero(found.values == 0.1)
    assert found.weights[at[0]] == np.count_nonzero(values == 0.1)


DISTANCE_SHAPES = ("even", "skewed", "mostly zero", "minutes", "rounded", "offset")


@pytest.mark.parametrize("shape", DISTANCE_SHAPES)
def test_distances_are_those_of_the_rows(shape: str) -> None:
    """Kolmogorov within 0.002, Wasserstein and stability index within 1 %."""
    random = np.random.default_rng(4)
    one = SHAPES[shape](random, ROWS)
    other = SHAPES[shape](random, ROWS)
    middle = np.median(other)
    other = np.where(random.random(ROWS) < 0.15, other + 0.5 * np.abs(other - middle) + 0.25, other)
    if shape in ("minutes", "rounded"):
        other = np.round(other, 0 if shape == "minutes" else 1)
    a, b = sketch_of(one), sketch_of(other)
    exact = stats.ks_2samp(one, other).statistic
    assert kolmogorov_distance(a, b) == pytest.approx(exact, abs=0.002)
    moved = stats.wasserstein_distance(one, other)
    assert wasserstein_distance(a, b) == pytest.approx(moved, rel=0.01)
    edges, before = stored(profile(one)).bins(10)
    inner = edges[1:-1]
    told = np.diff(b.shares_below(inner, included=False), prepend=0, append=1) * ROWS
    count = np.bincount(np.searchsorted(inner, other, side="right"), minlength=len(edges) - 1)
    known = np.bincount(np.searchsorted(inner, one, side="right"), minlength=len(edges) - 1)
    index = stability_index(known.astype(float), count.astype(float))
    assert stability_index(before, told) == pytest.approx(index, rel=0.01)


def test_a_distance_to_itself_is_none_and_does_not_depend_on_the_order() -> None:
    random = np.random.default_rng(5)
    a, b = sketch_of(random.normal(0, 1, 9_000)), sketch_of(random.normal(1, 2, 9_000))
    assert kolmogorov_distance(a, a) == wasserstein_distance(a, a) == 0
    assert wasserstein_distance(a, b) == pytest.approx(wasserstein_distance(b, a), rel=1e-12)


def test_quantiles() -> None:
    values = np.random.default_rng(6).normal(0, 1, ROWS)
    shares = np.asarray([0.0, 0.001, 0.1, 0.5, 0.9, 1.0])
    exact = np.quantile(values, shares)
    assert sketch_of(values).quantiles(shares) == pytest.approx(exact, abs=0.02)
    assert sketch_of(np.asarray([1.0, 2.0, 3.0])).quantiles(np.asarray([0.5])).tolist() == [2.0]


@pytest.mark.parametrize(
    ("values", "inside"),
    [
        ([0.0] * 930 + list(range(1, 71)), [930, 70]),
        ([0.0] * 600 + [1.0] * 400, [600, 400]),
        ([-1.0] * 200 + [0.0] * 600 + [2.0] * 200, [200, 600, 200]),
        (list(range(100)), [10] * 10),
        ([7.25] * 10, []),
    ],
)
def test_a_frequent_value_has_a_bin_of_its_own(values: list[float], inside: list[int]) -> None:
    """Without one a column of two values would have a single bin, and could never change."""
    edges, rows = stored(profile(np.asarray(values, dtype=float))).bins(10)
    assert rows.tolist() == pytest.approx(inside, abs=1)
    assert len(edges) == len(inside) + 1


def test_distances_from_the_ends_of_the_doubles_are_finite() -> None:
    a, b = (sketch_of(np.tile(ends, 50)) for ends in ([-1e308, 1e308], [0.0, 99.0]))
    assert kolmogorov_distance(a, b) == pytest.approx(0.5)
    assert wasserstein_distance(a, b) == pytest.approx(1e308)
