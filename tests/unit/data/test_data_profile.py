"""Profiles of tables and files: the same figures whichever way the rows come."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ferryman.data.windows.profile import profile_file, profile_table
from ferryman.profiles.column_profile import merge_profiles, profile_json, read_profile
from ferryman.spec.data import FeatureSpec

NUMBER, WORD = FeatureSpec(type="number"), FeatureSpec(type="category")
INTEGER = FeatureSpec(type="integer")


def test_a_number() -> None:
    values = [float(value) for value in range(1, 101)]
    profile = profile_table(pa.table({"n": [*values, None]}), {"n": NUMBER})["n"]
    assert (profile["count"], profile["nulls"]) == (100, 1)
    assert (profile["min"], profile["max"], profile["mean"]) == (1.0, 100.0, 50.5)
    assert profile["values"] == [[n, 1] for n in range(1, 101)]
    assert profile["cells"] == []


def test_a_constant_and_an_empty_column() -> None:
    table = pa.table({"c": [2.0, 2.0], "e": pa.array([None, None], pa.float64())})
    profile = profile_table(table, {"c": NUMBER, "e": NUMBER})
    assert (profile["c"]["values"], profile["c"]["std"]) == ([[2, 2]], 0.0)
    assert profile["e"]["values"] == profile["e"]["cells"] == []
    assert profile["e"]["mean"] is None
    json.dumps(profile, allow_nan=False)
    none = profile_table(table.slice(0, 0), {"c": NUMBER, "e": NUMBER})
    assert none["c"]["count"] == 0


def test_nan_and_infinity_count_as_null() -> None:
    values = [1.0, float("nan"), float("inf"), -float("inf")]
    profile = profile_table(pa.table({"n": values}), {"n": NUMBER})["n"]
    assert (profile["count"], profile["nulls"], profile["max"]) == (1, 3, 1.0)


def test_large_integers_are_exact_at_both_ends() -> None:
    values = [2**62 + 1, 2**53 + 1, -(2**62) - 1]
    profile = profile_table(pa.table({"n": values}), {"n": INTEGER})["n"]
    assert (profile["min"], profile["max"]) == (-(2**62) - 1, 2**62 + 1)


def test_a_category() -> None:
    words = ["b", "a", "a", None, *[f"w{number:03}" for number in range(160)]]
    profile = profile_table(pa.table({"w": words}), {"w": WORD})["w"]
    assert (profile["count"], profile["nulls"], profile["distinct"]) == (163, 1, 162)
    assert list(profile["top"])[:2] == ["a", "b"]
    assert len(profile["top"]) == 128
    assert sum(profile["top"].values()) + profile["other"] == 163
    assert profile["folded"] == 1


@pytest.fixture(scope="module")
def mixed() -> pa.Table:
    random = np.random.default_rng(5)
    rows = 300_000
    return pa.table(
        {
            "even": random.normal(0, 1, rows),
            "rain": pa.array(
                np.where(random.random(rows) < 0.93, 0, random.exponential(1, rows)),
                mask=random.random(rows) < 0.1,
            ),
            "minute": random.integers(0, 1440, rows),
            "word": [f"w{n}" for n in np.minimum(random.zipf(1.4, rows), 500)],
        }
    )


COLUMNS = {"even": NUMBER, "rain": NUMBER, "minute": INTEGER, "word": WORD}


def test_a_file_gives_what_its_table_gives_byte_for_byte(mixed: pa.Table, tmp_path: Path) -> None:
    file = tmp_path / "mixed.parquet"
    pq.write_table(mixed, file, row_group_size=128_000)
    streamed = profile_file(file, COLUMNS)
    assert json.dumps(streamed) == json.dumps(profile_file(file, COLUMNS))
    assert json.dumps(streamed) == json.dumps(profile_table(mixed, COLUMNS))


def test_merged_windows_are_the_rows_together(mixed: pa.Table) -> None:
    whole = profile_table(mixed, COLUMNS)
    parts = [profile_table(mixed.slice(at, 10_000), COLUMNS) for at in range(0, 300_000, 10_000)]
    merged = profile_json(merge_profiles([read_profile(part) for part in parts]))
    for name in COLUMNS:
        for key in ("type", "count", "nulls", "min", "max"):
            assert merged[name].get(key) == whole[name].get(key)
    for name in ("even", "rain", "minute"):
        assert merged[name]["mean"] == pytest.approx(whole[name]["mean"], rel=1e-12, abs=1e-12)
        assert merged[name]["std"] == pytest.approx(whole[name]["std"], rel=1e-12)
    assert merged["rain"]["values"][0] == whole["rain"]["values"][0]
    first = list(whole["word"]["top"])[:20]
    assert {word: merged["word"]["top"][word] for word in first} == {
        word: whole["word"]["top"][word] for word in first
    }


def test_a_profile_is_small(mixed: pa.Table) -> None:
    day = profile_table(mixed.slice(0, 1_000), COLUMNS)
    assert max(len(json.dumps(column)) for column in day.values()) < 4_000
    assert max(len(json.dumps(column)) for column in profile_table(mixed, COLUMNS).values()) < 9_000
