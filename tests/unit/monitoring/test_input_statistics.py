"""Statistics of logged columns beside those of the training data."""

from typing import Any

import pyarrow as pa
import pytest

from ferryman.data.windows.profile import profile_table
from ferryman.monitoring.input_statistics import (
    InputStatistics,
    input_statistics,
    logged_columns,
)
from ferryman.spec.data import FeatureSpec

COLUMNS = {"size": FeatureSpec(type="number"), "colour": FeatureSpec(type="category")}
TRAINED = pa.table(
    {
        "size": pa.array([1.0, 2.0, None, 4.0]),
        "colour": pa.array(["red", "red", "blue", None]),
    }
)
REFERENCE = profile_table(TRAINED, COLUMNS)


def statistics(size: list[Any], colour: list[Any], reference: Any = REFERENCE) -> Any:
    table = pa.table(
        {"size": pa.array(size, pa.float64()), "colour": pa.array(colour, pa.string())}
    )
    return input_statistics(table, COLUMNS, reference)


def test_nulls_range_and_unseen_values_stand_beside_those_of_training() -> None:
    size, colour = statistics([0.5, 3.0, float("nan"), None], ["red", "", "grey", "grey"])
    assert size == InputStatistics(
        column="size",
        rows=4,
        nulls=0.5,
        nulls_before=0.25,
        low=0.5,
        high=3.0,
        low_before=1.0,
        high_before=4.0,
        outside=0.5,
    )
    assert (colour.nulls, colour.nulls_before) == (0.25, 0.25)
    assert (colour.unseen, colour.unseen_share) == (["grey"], 0.5)


def test_what_has_no_rows_has_no_shares() -> None:
    size, colour = statistics([], [])
    assert (size.nulls, size.low, size.high, size.outside) == (None, None, None, None)
    assert (colour.nulls, colour.unseen, colour.unseen_share) == (None, [], None)


def test_without_a_profile_or_with_one_of_another_kind_nothing_is_compared() -> None:
    for reference in ({}, {"size": REFERENCE["colour"], "colour": REFERENCE["size"]}):
        size, colour = statistics([9.0], ["grey"], reference)
        assert (size.high, size.high_before, size.nulls_before, size.outside) == (
            9,
            None,
            None,
            None,
        )
        assert (colour.unseen, colour.unseen_share) == ([], None)


def test_only_what_is_logged_is_looked_at() -> None:
    assert logged_columns(COLUMNS, ["colour"]) == ["colour"]
    assert logged_columns(COLUMNS, None) == ["size", "colour"]
    [found] = input_statistics(TRAINED.select(["colour"]), COLUMNS, REFERENCE)
    assert found.column == "colour"
    assert found.nulls == pytest.approx(0.25)
