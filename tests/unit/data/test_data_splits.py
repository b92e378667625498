"""Splits by group: nothing crosses, whatever the values are; rows that are equal are counted."""

import datetime as dt

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferryman.data.versions.splits import (
    LeftOut,
    SharedRows,
    group_keys,
    refuse_nothing_left,
    shared_rows,
    without_groups,
)
from ferryman.errors import DataRejected
from ferryman.spec.windows import day_window

texts = st.one_of(st.none(), st.text("a|:-1", max_size=3))
rows = st.lists(st.tuples(texts, texts), min_size=1, max_size=8)


def table(pairs: list[tuple[object, object]]) -> pa.Table:
    names = ("plane", "line")
    return pa.table(
        {n: pa.array(v, pa.string()) for n, v in zip(names, zip(*pairs, strict=True), strict=True)}
    )


@given(rows, rows)
def test_no_group_stands_on_both_sides(train: list, evaluation: list) -> None:
    group = ("plane", "line")
    kept, left = without_groups(table(train), group, group_keys(table(evaluation), group))
    expected = [pair for pair in train if pair not in evaluation]
    assert [tuple(row.values()) for row in kept.to_pylist()] == expected
    assert left.rows == len(train) - len(expected)
    assert left.groups == len(set(train) & set(evaluation))


def test_numbers_name_groups_too() -> None:
    numbers = pa.table({"flight": pa.array([1, 11, None, 1], pa.int64())})
    held = group_keys(pa.table({"flight": pa.array([1, None], pa.int64())}), ["flight"])
    kept, left = without_groups(numbers, ["flight"], held)
    assert kept.column("flight").to_pylist() == [11]
    assert left == LeftOut(rows=3, groups=2)


def test_a_group_that_takes_every_row_is_refused_with_counts() -> None:
    window = day_window(dt.datetime(2024, 1, 1, tzinfo=dt.UTC))
    with pytest.raises(DataRejected, match="all 90 belong to the 4 groups of plane"):
        refuse_nothing_left(0, LeftOut(90, 4), ["plane"], window)
    refuse_nothing_left(1, LeftOut(90, 4), ["plane"], window)
    refuse_nothing_left(0, LeftOut(0, 0), ["plane"], window)


def test_equal_rows_are_counted_on_both_sides() -> None:
    train = pd.DataFrame({"x": [1.0, 1.0, 2.0, None], "w": list("aabb"), "label": [True] * 4})
    evaluation = pd.DataFrame(
        {"x": [1.0, 2.0, None, 1.0], "w": list("abba"), "label": [True, False, True, True]}
    )
    counts = shared_rows(train, evaluation, ["x", "w"])
    assert counts == SharedRows(shared=3, evaluation=4, repeated=1, training=4)
    assert counts.warning.startswith(
        "3 of 4 evaluation rows (75.0%) equal a training row in every feature and in the label; "
        "25.0% of the training rows repeat one another"
    )
    assert SharedRows(shared=1, evaluation=100, repeated=0, training=100).warning == ""
