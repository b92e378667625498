"""Columns and nights that no test of drift expects: each has a named outcome, and none raises."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

from ferryman.data.windows.profile import profile_table
from ferryman.monitoring.drift import compare
from ferryman.monitoring.drift_night import compare_columns
from ferryman.profiles.column_profile import read_profile
from ferryman.profiles.day_profiles import profile_days
from ferryman.spec.data import FeatureSpec
from ferryman.spec.monitoring import DriftSpec
from ferryman.spec.windows import Window

NUMBER, CATEGORY = FeatureSpec(type="number"), FeatureSpec(type="category")
START = datetime(2013, 2, 1, tzinfo=UTC)
SPEC = DriftSpec(min_rows=100)
NUMBERS = {"x": [float(i % 100) for i in range(2000)]}
WORDS = {"x": ["a", "b", "c", "d"] * 500}
MANY = {"x": [f"w{i % 1000}" for i in range(2000)]}


def logged(values: Any, days: int = 1) -> pa.Table:
    rows = len(values)
    times = [START + timedelta(days=row * days // rows) for row in range(rows)]
    return pa.table({"x": values, "event_time": pa.array(times, pa.timestamp("us", tz="UTC"))})


def outcome(before: Any, now: Any, kind: FeatureSpec) -> str:
    reference = profile_table(pa.table(before), {"x": kind})
    return compare(reference, logged(now), {"x": kind}, SPEC)[0].outcome


@pytest.mark.parametrize(
    ("before", "now", "kind", "expected"),
    [
        (NUMBERS, [], NUMBER, "no_rows"),
        (NUMBERS, [1.0], NUMBER, "too_few_rows"),
        (NUMBERS, [float("nan")] * 300, NUMBER, "all_null"),
        (NUMBERS, [float("inf")] * 300, NUMBER, "all_null"),
        (NUMBERS, [5.0] * 300, NUMBER, "constant"),
        (NUMBERS, ["fünf"] * 300, NUMBER, "wrong_type"),
        (NUMBERS, ["5.5"] * 300, NUMBER, "constant"),
        (NUMBERS, [None] * 300, NUMBER, "all_null"),
        (NUMBERS, [1e300, -1e300] * 150, NUMBER, "drifted"),
        (NUMBERS, [float(i % 100) for i in range(300)], NUMBER, "stable"),
        (WORDS, [], CATEGORY, "no_rows"),
        (WORDS, ["a", "b", "c", "d", "Ω"] * 60, CATEGORY, "new_categories"),
        (WORDS, [f"w{i}" for i in range(10_000)], CATEGORY, "new_categories"),
        (WORDS, [1, 2, 3] * 100, CATEGORY, "new_categories"),
        (WORDS, ["a", "b", "c", "d"] * 75, CATEGORY, "stable"),
        # 872 of 1000 values count as one: others of that sort would not be seen.
        (MANY, [f"w{i}" for i in range(1000)], CATEGORY, "partly_compared"),
        (MANY, ["w1"] * 300, CATEGORY, "constant"),
        ({"x": ["a"] * 1998 + MANY["x"][:2]}, ["a"] * 299 + ["w1"], CATEGORY, "stable"),
    ],
)
def test_odd_columns(before: Any, now: Any, kind: FeatureSpec, expected: str) -> None:
    assert outcome(before, now, kind) == expected


def night(table: pa.Table, day: int = 0) -> dict[str, str]:
    """The outcomes of one night's comparisons of x, by sort."""
    window = Window(start=START + timedelta(days=day), end=START + timedelta(days=day + 1))
    columns = {"x": NUMBER}
    reference = read_profile(profile_table(pa.table(NUMBERS), columns))
    _, found = compare_columns(reference, profile_days(table, columns), columns, window, SPEC)
    return {one.kind: one.outcome for one in found}


def test_a_night_without_rows_and_a_first_night_have_outcomes() -> None:
    assert night(logged([])) == {"column": "no_rows", "previous": "no_reference"}
    values = NUMBERS["x"]
    assert night(logged(values)) == {"column": "stable", "previous": "no_reference"}
    # Two days before say nothing of how days differ.
    three = pa.concat_tables([logged(values * 3, days=3)])
    assert night(three, day=2) == {"column": "stable", "previous": "too_few_days"}
    assert night(logged(values * 6, days=6), day=5)["previous"] == "stable"
    # The log has rows, but none of the newest window.
    assert night(logged(values * 6, days=6), day=6)["previous"] == "no_rows"
