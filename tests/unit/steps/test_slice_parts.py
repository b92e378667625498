"""The slices of a night are those of the champion's evaluation."""

import numpy as np
import pandas as pd

from ferryman.evaluation.slices import NO_VALUE
from ferryman.spec.evaluation import SliceSpec
from ferryman.steps.slice_parts import NEW_VALUES, slice_parts

DISTANCE, CARRIER = SliceSpec(column="distance", bins=4), SliceSpec(column="carrier")


def sizes(declared: SliceSpec, now: pd.Series, before: pd.Series | None) -> dict[str, list[int]]:
    parts = slice_parts(declared, now, before)
    places = np.sort(np.concatenate([part.now for part in parts]))
    assert places.tolist() == list(range(len(now)))  # each row in one part
    return {part.name: [len(part.now), len(part.before)] for part in parts}


def test_bins_are_those_of_the_evaluation_and_reach_beyond_it() -> None:
    before = pd.Series(np.arange(1.0, 101.0))
    now = pd.Series([-5.0, 25.0, 25.5, 99.0, 1000.0, np.nan])
    assert sizes(DISTANCE, now, before) == {
        "1 to 25": [2, 25],
        "26 to 50": [1, 25],
        "51 to 75": [0, 25],
        "76 to 100": [2, 25],
        NO_VALUE: [1, 0],
    }


def test_values_that_the_evaluation_did_not_have_are_one_part() -> None:
    before, now = pd.Series(["AA", "AA", "UA", ""]), pd.Series(["UA", "ZZ", "YY", "", "AA"])
    assert sizes(CARRIER, now, before) == {
        "AA": [1, 2],
        "UA": [1, 1],
        NEW_VALUES: [2, 0],
        NO_VALUE: [1, 1],
    }


def test_without_an_evaluation_the_rows_part_themselves() -> None:
    assert sizes(CARRIER, pd.Series(["AA", "AA", "UA"]), None) == {"AA": [2, 0], "UA": [1, 0]}
    few = pd.Series([1.0, 2.0, 2.0])
    weekday = SliceSpec(column="weekday")
    assert sizes(weekday, few, None) == {"1": [1, 0], "2": [2, 0]}
    assert sizes(weekday, few, pd.Series([2.0, 3.0])) == {
        "2": [2, 1],
        "3": [0, 1],
        NEW_VALUES: [1, 0],
    }
