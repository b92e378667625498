"""Drift needs a large and a significant change; odd columns have outcomes of their own."""

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats

from ferryman.data.windows.profile import profile_table
from ferryman.monitoring.drift import ColumnDrift, compare, compare_days
from ferryman.profiles.column_profile import profile_json, read_profile
from ferryman.profiles.day_profiles import merged, profile_days
from ferryman.profiles.trained_days import read_days, with_days
from ferryman.profiles.two_samples import design_effect, stability_index, two_sample_p
from ferryman.spec.data import FeatureSpec
from ferryman.spec.monitoring import DriftSpec

NUMBER = FeatureSpec(type="number")
CATEGORY = FeatureSpec(type="category")
START = datetime(2013, 2, 1, 12, tzinfo=UTC)
SPEC = DriftSpec(effect=0.25, significance=0.001, min_rows=100)


def number_profile(values: np.ndarray, nulls: int = 0) -> dict[str, Any]:
    padded = np.concatenate([values, np.full(nulls, np.nan)])
    table = pa.table({"x": pa.array(padded, from_pandas=True)})
    return dict(profile_table(table, {"x": NUMBER})["x"])


def lived(columns: dict[str, Any], days: int = 5) -> pa.Table:
    """The columns as a logged table: rows dealt out over some days, so that all days are alike."""
    rows = len(next(iter(columns.values())))
    times = [START + timedelta(days=row % days) for row in range(rows)]
    return pa.table({**columns, "event_time": pa.array(times, pa.timestamp("us", tz="UTC"))})


def judge(profile: dict[str, Any] | None, values: Any, kind: FeatureSpec = NUMBER) -> ColumnDrift:
    reference = {} if profile is None else {"x": profile}
    return compare(reference, lived({"x": values}), {"x": kind}, SPEC)[0]


def test_a_shifted_column_drifts_and_a_quiet_one_does_not() -> None:
    random = np.random.default_rng(1)
    profile = number_profile(random.normal(0, 1, 5000))
    assert judge(profile, random.normal(0, 1, 1500)).outcome == "stable"
    moved = judge(profile, random.normal(1, 1, 1500))
    assert moved.outcome == "drifted"
    assert moved.psi is not None
    assert moved.psi > 0.5


def test_a_small_change_is_no_drift_however_significant() -> None:
    random = np.random.default_rng(2)
    profile = number_profile(random.normal(0, 1, 50_000))
    change = judge(profile, random.normal(0.1, 1, 50_000))
    assert change.p_value is not None
    assert change.p_value < 1e-6
    assert change.outcome == "stable"


def test_integers_on_bin_edges_are_binned_as_the_profile_was() -> None:
    random = np.random.default_rng(4)
    draw = lambda count: random.integers(1, 8, count).astype(float)  # noqa: E731
    assert judge(number_profile(draw(5000)), draw(2000)).outcome == "stable"


def test_lost_values_lost_variety_and_lost_rows() -> None:
    random = np.random.default_rng(5)
    profile = number_profile(random.normal(0, 1, 5000))
    assert judge(profile, pa.nulls(500, pa.float64())).outcome == "all_null"
    assert judge(profile, np.full(500, 0.3)).outcome == "constant"
    few = judge(profile, random.normal(0, 1, 99))
    assert (few.outcome, few.drifted, few.psi) == ("too_few_rows", False, None)
    assert judge(None, random.normal(0, 1, 500)).outcome == "no_reference"
    retyped = judge(category_profile(a=500), random.normal(0, 1, 500))
    older = judge({"type": "number", "edges": [0, 1], "counts": [9]}, random.normal(0, 1, 500))
    assert retyped.outcome == older.outcome == "no_reference"
    missing = compare({"x": profile}, lived({"y": np.ones(500)}), {"x": NUMBER}, SPEC)[0]
    assert missing.outcome == "all_null"
    nan = judge(profile, np.full(500, np.nan))
    assert (nan.outcome, nan.nulls) == ("all_null", 1.0)


def test_a_column_that_always_was_empty_or_constant_is_stable() -> None:
    empty = number_profile(np.array([]), nulls=900)
    assert judge(empty, pa.nulls(500, pa.float64())).outcome == "stable"
    assert judge(empty, np.ones(500)).outcome == "drifted"
    constant = number_profile(np.full(900, 2.0))
    assert judge(constant, np.full(500, 2.0)).outcome == "stable"
    assert judge(constant, np.full(500, 3.0)).outcome == "drifted"


def test_more_nulls_are_drift() -> None:
    random = np.random.default_rng(6)
    profile = number_profile(random.normal(0, 1, 5000), nulls=50)
    values = random.normal(0, 1, 1000)
    values[:400] = np.nan
    found = judge(profile, values)
    assert (found.outcome, found.nulls) == ("drifted", 0.4)


def gaps(random: np.random.Generator, days: int, empty: int) -> pa.Table:
    """Days of 200 readings; on the first so many of them most have none."""
    values = random.normal(0, 1, days * 200)
    values[: empty * 200][random.random(empty * 200) < 0.9] = np.nan
    times = np.repeat([START + timedelta(days=day) for day in range(days)], 200)
    return pa.table({"x": values, "event_time": pa.array(times, pa.timestamp("us", tz="UTC"))})


def test_gaps_of_a_few_days_that_do_not_come_again_are_no_drift() -> None:
    random, column = np.random.default_rng(8), {"x": NUMBER}
    trained = list(profile_days(gaps(random, 28, 3), column).values())
    stored = with_days(profile_json(merged(trained)), trained)
    logged = list(profile_days(gaps(random, 7, 0), column).values())
    found = compare_days(
        read_profile(stored), logged, column, SPEC, quiet=logged, trained=read_days(stored)
    )
    assert (found[0].outcome, found[0].nulls) == ("stable", 0.0)
    assert found[0].effect is not None
    assert found[0].effect > SPEC.effect
    # The same gaps among days that had none are told.
    quiet = list(profile_days(gaps(random, 28, 0), column).values())
    before = read_profile(profile_json(merged(quiet)))
    few = list(profile_days(gaps(random, 7, 1), column).values())
    assert compare_days(before, few, column, SPEC, quiet=quiet)[0].outcome == "drifted"


def category_profile(**counts: int) -> dict[str, Any]:
    values = [value for value, count in counts.items() for _ in range(count)]
    table = pa.table({"x": pa.array(values, pa.string())})
    return dict(profile_table(table, {"x": CATEGORY})["x"])


@pytest.mark.parametrize(
    ("values", "outcome", "new"),
    [
        (["a"] * 500 + ["b"] * 480, "stable", []),
        (["a"] * 100 + ["b"] * 900, "drifted", []),
        (["a"] * 300 + ["b"] * 300 + ["z"] * 400, "new_categories", ["z"]),
        (["a"] * 500 + ["b"] * 495 + ["z"] * 5, "stable", ["z"]),
        ([None] * 600 + ["a"] * 200 + ["b"] * 200, "drifted", []),
        ([""] * 600 + ["a"] * 200 + ["b"] * 200, "drifted", []),
        (["a"] * 1000, "constant", []),
        ([None] * 1000, "all_null", []),
    ],
)
def test_categories(values: list[str | None], outcome: str, new: list[str]) -> None:
    found = judge(category_profile(a=5000, b=5000), pa.array(values, pa.string()), CATEGORY)
    assert (found.outcome, found.new_values) == (outcome, new)


def test_rare_values_that_the_profile_folded_away_are_not_called_new() -> None:
    rare = {f"r{i}": 10 for i in range(100)}  # more values than a profile keeps by name
    profile = category_profile(a=5000, b=4000, **rare)
    values = ["a"] * 500 + ["b"] * 400 + [f"r{i}" for i in range(100)]
    found = judge(profile, pa.array(values), CATEGORY)
    assert (found.outcome, found.new_values) == ("stable", [])


def test_stability_index_by_hand() -> None:
    # (0.2-0.5) ln(0.2/0.5) + (0.8-0.5) ln(0.8/0.5), to the half rows that are added
    found = stability_index(np.array([50_000.0, 50_000.0]), np.array([20_000.0, 80_000.0]))
    assert found == pytest.approx(0.415888, abs=1e-4)
    assert stability_index(np.array([7.0, 3.0]), np.array([7.0, 3.0])) == 0


def test_a_test_of_one_day_is_plain_chi_square() -> None:
    one_day = lambda *counts: np.array([counts], dtype=float)  # noqa: E731
    assert two_sample_p(np.array([10.0, 0.0]), one_day(5, 0)) == 1.0
    assert two_sample_p(np.array([100.0, 100.0]), one_day(50, 50)) == pytest.approx(1.0)
    # X^2 = 300 (100 * 10 - 90 * 100)^2 / (190 * 110 * 200 * 100) = 45.93 at one degree of freedom
    found = two_sample_p(np.array([100.0, 100.0]), one_day(90, 10))
    assert found == pytest.approx(float(stats.chi2.sf(45.933, 1)), rel=1e-3)


def test_days_that_are_alike_inside_count_for_less() -> None:
    # Each day lies in one bin: 100 rows of a day are worth one.
    clustered = np.array([[100.0, 0.0], [0.0, 100.0]] * 5)
    assert design_effect(clustered) == pytest.approx(100 * 10 / 9)
    assert design_effect(np.array([[50.0, 50.0]] * 10)) == 1.0
    assert design_effect(np.array([[50.0, 50.0]])) == 1.0


def test_a_week_of_weather_is_no_drift_but_a_stuck_gauge_is() -> None:
    """Days with a temperature of their own, all rows of a day nearly the same."""
    random = np.random.default_rng(7)

    def weather(days: int) -> np.ndarray:
        return np.repeat(random.normal(0, 1, days), 300) + random.normal(0, 0.1, days * 300)

    rows = np.arange(7 * 300)
    times = [START + timedelta(days=int(row // 300)) for row in rows]
    alarms = naive = 0
    for _ in range(50):
        profile = {"x": number_profile(weather(28))}
        table = pa.table({"x": weather(7), "event_time": times})
        found = compare(profile, table, {"x": NUMBER}, SPEC)[0]
        alarms += found.drifted
        naive += found.psi is not None and found.psi >= SPEC.effect
    assert naive > 25  # the effect alone would call most weeks a drift
    assert alarms <= 2
    stuck = pa.table({"x": np.full(len(rows), 2.0), "event_time": times})
    assert compare(profile, stuck, {"x": NUMBER}, SPEC)[0].outcome == "constant"
