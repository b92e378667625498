"""Two versions compared from their profiles: planted changes are found and named."""

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from ferryman.data.versions.diff import Version, diff_versions
from ferryman.data.windows.profile import profile_table
from ferryman.profiles.column_profile import read_profile
from ferryman.spec.data import FeatureSpec

NUMBER, WORD = FeatureSpec(type="number"), FeatureSpec(type="category")


def version(*tables: dict[str, Any], name: str = "v") -> Version:
    """A version of one window per table; columns of text are categories."""
    windows = []
    for columns in tables:
        table = pa.table(columns)
        specs = {
            field.name: WORD if pa.types.is_string(field.type) else NUMBER for field in table.schema
        }
        windows.append(read_profile(profile_table(table, specs)))
    return Version(name, sum(len(next(iter(t.values()))) for t in tables), windows)


def verdicts(before: Version, after: Version) -> dict[str, str]:
    return {one.column: one.verdict for one in diff_versions(before, after).columns}


def test_one_shifted_column_of_twenty_is_named() -> None:
    found = 0
    for seed in range(8):
        random = np.random.default_rng(seed)
        before = version({f"c{i}": random.normal(0, 1, 2_000) for i in range(20)})
        columns = {f"c{i}": random.normal(0, 1, 2_000) for i in range(20)}
        columns["c7"] += 0.3
        diff = diff_versions(before, version(columns))
        found += [one.column for one in diff.changed] == ["c7"]
        assert {one.column for one in diff.changed} <= {"c7"}
        assert diff.changed[0].shift == pytest.approx(0.3, abs=0.12)
    assert found == 8


def test_a_million_rows_with_a_shift_of_a_hundredth_are_the_same() -> None:
    random = np.random.default_rng(3)
    before = version({"c": random.normal(0, 1, 1_000_000)})
    diff = diff_versions(before, version({"c": random.normal(0.01, 1, 1_000_000)}))
    (change,) = diff.columns
    assert change.p_value is not None
    assert change.p_value < 1e-4
    assert (change.verdict, diff.verdict) == ("same", "same")


def test_a_planted_shift_over_days_is_found() -> None:
    """Days have a weather of their own, which alone is no change."""
    random = np.random.default_rng(4)

    def days(shift: float) -> list[dict[str, Any]]:
        return [
            {
                f"n{i}": random.normal(shift * (i == 3), 1) + random.normal(0, 0.1, 60)
                for i in range(6)
            }
            for _ in range(28)
        ]

    before, days_after = version(*days(0)), days(2)
    diff = diff_versions(before, version(*days_after))
    assert [one.column for one in diff.changed] == ["n3"]
    assert diff.basis == "windows were compared with windows"


def test_categories_that_appear_and_vanish_are_named_with_their_rows() -> None:
    before = version({"c": ["a"] * 500 + ["b"] * 400 + ["old"] * 100})
    diff = diff_versions(before, version({"c": ["a"] * 500 + ["b"] * 300 + ["new"] * 200}))
    (change,) = diff.changed
    assert (change.appeared, change.vanished) == ({"new": 200}, {"old": 100})
    assert change.effect == pytest.approx(0.2)
    few = diff_versions(
        before, version({"c": ["a"] * 500 + ["b"] * 398 + ["x"] * 2 + ["old"] * 99})
    )
    assert few.changed == []
    assert few.columns[0].appeared == {"x": 2}


def test_nulls_columns_and_types() -> None:
    random = np.random.default_rng(5)
    values = random.normal(0, 1, 400)
    gone_null = pa.array(values, mask=random.random(400) < 0.3)
    before = version({"a": values, "b": values, "d": values, "e": values, "same": values})
    after = version(
        {
            "a": gone_null,
            "c": values,
            "d": pa.array([str(v) for v in values]),
            "e": pa.nulls(400, pa.float64()),
            "same": values[::-1],
        }
    )
    assert verdicts(before, after) == {
        "a": "changed",
        "b": "gone",
        "d": "changed",
        "e": "changed",
        "same": "same",
        "c": "new",
    }


def test_too_few_rows_are_no_verdict() -> None:
    values = np.arange(29.0)
    diff = diff_versions(version({"a": values}), version({"a": values + 100}))
    assert (diff.verdict, diff.columns[0].effect) == ("too_few_rows", None)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ([2.0] * 100, [2.0] * 100, "same"),
        ([2.0] * 100, [3.0] * 100, "changed"),
        ([1e300, -1e300] * 50, [1e300, -1e300] * 50, "same"),
        ([0.0] * 100, [1e300] * 100, "changed"),
        ([None] * 100, [None] * 100, "same"),
    ],
)
def test_odd_columns(one: list[Any], other: list[Any], expected: str) -> None:
    before, after = (version({"a": pa.array(side, pa.float64())}) for side in (one, other))
    diff = diff_versions(before, after)
    assert diff.columns[0].verdict == expected
    json.dumps(diff.as_json(), allow_nan=False)
    assert len(json.dumps(diff.summary())) < 1_000
