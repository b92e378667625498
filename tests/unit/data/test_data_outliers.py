"""Outliers against the textbook's figures, each in its own group."""

import numpy as np
import pytest

from ferryman.data.rows.outliers import find_outliers
from ferryman.spec.sources import OutlierSpec

# Quartiles 3 and 7; median 5, absolute deviations' median 2; mean 5, standard deviation sqrt(20/3).
VALUES = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0]


def find(values: list[float], method: str, factor: float, *, groups: list[int] | None = None,
         judged: list[bool] | None = None, least: int = 4) -> list[tuple[int, float]]:  # fmt: skip
    spec = OutlierSpec.model_validate({"method": method, "factor": factor, "min_rows": least})
    found = find_outliers(
        np.array(values),
        np.ones(len(values), dtype=bool) if judged is None else np.array(judged),
        np.zeros(len(values), dtype=np.int64) if groups is None else np.array(groups),
        spec,
    )
    return list(zip(found.rows.tolist(), found.fences.tolist(), strict=True))


@pytest.mark.parametrize(
    ("method", "factor", "low", "high"),
    [
        ("iqr", 0.25, 2.0, 8.0),
        ("mad", 1.0, 5 - 2 * 1.4826022185056018, 5 + 2 * 1.4826022185056018),
        ("zscore", 1.2, 5 - 1.2 * (20 / 3) ** 0.5, 5 + 1.2 * (20 / 3) ** 0.5),
    ],
)
def test_the_fences_are_those_of_the_textbook(
    method: str, factor: float, low: float, high: float
) -> None:
    found = find(VALUES, method, factor)
    assert [row for row, _ in found] == [
        row for row, value in enumerate(VALUES) if not low <= value <= high
    ]
    assert len(found) >= 2
    for row, fence in found:
        assert fence == pytest.approx(low if VALUES[row] < 5 else high, rel=1e-12)


def test_a_value_on_the_fence_is_no_outlier() -> None:
    assert find(VALUES, "iqr", 0.5) == []  # fences at 1 and 9


def test_each_group_has_its_own_fences() -> None:
    groups = [0] * 9 + [1] * 9
    values = [*VALUES, *(value * 100 for value in VALUES)]
    assert find(values, "iqr", 1.0, groups=groups) == []
    assert find(values, "mad", 3.0) != []


def test_few_rows_and_no_spread_judge_nothing() -> None:
    assert find([1.0, 1.0, 1.0, 99.0], "zscore", 0.1, least=5) == []
    for method in ("iqr", "mad", "zscore"):
        assert find([0.1] * 30, method, 0.001) == []
    assert find([5.0] * 30 + [99.0], "iqr", 3.0) == []  # the quartiles are equal
    assert find([5.0] * 30 + [99.0], "mad", 3.0) == []


def test_values_that_are_not_judged_neither_count_nor_fall() -> None:
    values = [*VALUES, 1e9]
    assert find(values, "iqr", 3.0) == [(9, pytest.approx(21.25))]
    assert find(values, "iqr", 3.0, judged=[True] * 9 + [False]) == []
