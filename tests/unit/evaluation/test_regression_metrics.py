"""Regression metrics: against a table worked out by hand, and against scikit-learn."""

import math

import numpy as np
import pytest
import sklearn.metrics as reference
from hypothesis import given, settings
from hypothesis import strategies as st

from ferryman.evaluation.intervals import bootstrap, paired_difference
from ferryman.evaluation.measures import make_measures

MEASURES = make_measures("regression")


def test_table_worked_out_by_hand() -> None:
    found = MEASURES.score([2.0, 4.0, 0.0, -2.0], [3.0, 4.0, 1.0, -4.0])
    assert found["mae"] == pytest.approx((1 + 0 + 1 + 2) / 4)
    assert found["rmse"] == pytest.approx(math.sqrt((1 + 0 + 1 + 4) / 4))
    # around the mean of 1 the labels have the squares 1 + 9 + 1 + 9
    assert found["r2"] == pytest.approx(1 - 6 / 20)
    # the row whose label is 0 is left out, and counted
    assert found["mape"] == pytest.approx((1 / 2 + 0 + 2 / 2) / 3)
    assert (found["mape_left_out"], found["rows"], found["label_mean"]) == (1, 4, 1)


def test_what_cannot_be_had_is_none() -> None:
    nothing = MEASURES.score([0.0, 0.0], [1.0, -1.0])
    assert (nothing["mape"], nothing["mape_left_out"], nothing["r2"]) == (None, 2, None)
    assert nothing["mae"] == 1
    assert MEASURES.score([0.1, 0.1, 0.1], [1.0, 2.0, 3.0])["r2"] is None
    empty = MEASURES.score([], [])
    assert (empty["rows"], empty["label_mean"], empty["mae"]) == (0, None, None)
    broken = MEASURES.score([1.0, 2.0], [1.0, math.nan])
    assert all(broken[name] is None for name in MEASURES.names)
    with pytest.raises(ValueError, match="must be equal"):
        MEASURES.score([1.0, 2.0], [[1.0], [2.0]])


def test_answers_beyond_all_bounds_have_no_figures() -> None:
    labels, values = np.arange(1.0, 301), np.full(300, 1e200)
    found = MEASURES.score(labels, values)
    assert (found["rmse"], found["r2"]) == (None, None)
    assert found["mae"] == pytest.approx(1e200)
    intervals = bootstrap(MEASURES, labels, values, resamples=200)
    assert intervals["rmse"] is None
    assert intervals["mae"] is not None
    assert paired_difference(MEASURES, labels, values, labels, "rmse", resamples=200) is None


def test_r2_survives_labels_far_from_zero() -> None:
    labels = 1e9 + np.arange(10.0)
    found = MEASURES.score(labels, labels + 1)
    assert found["r2"] == pytest.approx(1 - 10 / 82.5, abs=1e-9)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(-9, 9).filter(bool), st.integers(-20, 20)), min_size=2, max_size=50
    ).filter(lambda rows: len({row[0] for row in rows}) > 1)
)
def test_agrees_with_scikit_learn(rows: list[tuple[int, int]]) -> None:
    labels = np.array([row[0] for row in rows], dtype=np.float64)
    values = np.array([row[1] / 2 for row in rows])
    found = MEASURES.score(labels, values)
    expected = {
        "mae": reference.mean_absolute_error(labels, values),
        "rmse": reference.root_mean_squared_error(labels, values),
        "r2": reference.r2_score(labels, values),
        "mape": reference.mean_absolute_percentage_error(labels, values),
    }
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, abs=1e-9), name
