"""Profiles of columns."""

import json

import pyarrow as pa

from ferryman.data.profile import profile_table
from ferryman.spec.data import FeatureSpec

NUMBER, WORD = FeatureSpec(type="number"), FeatureSpec(type="category")


def test_a_number() -> None:
    values = [float(value) for value in range(1, 101)]
    profile = profile_table(pa.table({"n": [*values, None]}), {"n": NUMBER})["n"]
    assert (profile["count"], profile["nulls"]) == (100, 1)
    assert (profile["min"], profile["max"], profile["mean"]) == (1.0, 100.0, 50.5)
    assert len(profile["edges"]) == 11
    assert profile["counts"] == [10] * 10


def test_ties_join_edges_and_no_value_is_lost() -> None:
    values = [0.0] * 90 + [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0]
    profile = profile_table(pa.table({"n": values}), {"n": NUMBER})["n"]
    assert profile["edges"] == sorted(set(profile["edges"]))
    assert sum(profile["counts"]) == 100


def test_a_constant_and_an_empty_column() -> None:
    table = pa.table({"c": [2.0, 2.0], "e": pa.array([None, None], pa.float64())})
    profile = profile_table(table, {"c": NUMBER, "e": NUMBER})
    assert (profile["c"]["edges"], profile["c"]["counts"]) == ([2.0, 2.0], [2])
    assert profile["e"]["edges"] == profile["e"]["counts"] == []
    assert profile["e"]["mean"] is None
    json.dumps(profile, allow_nan=False)


def test_a_category() -> None:
    words = ["b", "a", "a", None, *[f"w{number:03}" for number in range(60)]]
    profile = profile_table(pa.table({"w": words}), {"w": WORD})["w"]
    assert (profile["count"], profile["nulls"]) == (63, 1)
    assert list(profile["top"])[:2] == ["a", "b"]
    assert len(profile["top"]) == 50
    assert sum(profile["top"].values()) + profile["other"] == 63


def test_nan_counts_as_null() -> None:
    profile = profile_table(pa.table({"n": [1.0, float("nan")]}), {"n": NUMBER})["n"]
    assert (profile["count"], profile["nulls"]) == (1, 1)
