"""Groups: rates as fairlearn has them, and a largest gap whose interval holds for all pairs."""

import json

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from ferryman.evaluation.fairness import RATES, FairnessResult, measure_fairness
from ferryman.evaluation.measures import make_measures

BINARY = make_measures("binary")
Arrays = tuple[pd.DataFrame, npt.NDArray[np.bool_], npt.NDArray[np.float64]]


def example(rows: int, groups: int, seed: int = 0, shift: float = 0.0) -> Arrays:
    """Equal groups, but for the scores of group g0, which are `shift` higher."""
    generator = np.random.default_rng(seed)
    group = np.arange(rows) % groups
    truth = generator.beta(2, 3, rows)
    labels = generator.random(rows) < truth
    scores = truth + generator.normal(0, 0.1, rows) + shift * (group == 0)
    frame = pd.DataFrame({"group": [f"g{code}" for code in group]})
    return frame, labels, np.clip(scores, 0.01, 0.99)


def gap(arrays: Arrays, metric: str, *, min_rows: int = 50, **settings: int) -> FairnessResult:
    frame, labels, scores = arrays
    return measure_fairness(
        BINARY,
        frame,
        labels,
        scores,
        column="group",
        metric=metric,
        min_rows=min_rows,
        **{"resamples": 300, **settings},
    )


def test_rates_of_groups_are_those_counted_by_hand() -> None:
    frame = pd.DataFrame({"group": ["a"] * 10 + ["b"] * 10})
    labels = np.array([True] * 4 + [False] * 6 + [True] * 5 + [False] * 5)
    scores = np.where(np.arange(20) % 2 == 0, 0.9, 0.1)
    # a: answers at 0, 2, 4, 6, 8; b: at 10, 12, 14, 16, 18.
    expected = {
        "selection_rate": ((10, 0.5), (10, 0.5)),
        "false_positive_rate": ((6, 3 / 6), (5, 2 / 5)),
        "false_negative_rate": ((4, 2 / 4), (5, 2 / 5)),
    }
    for metric, figures in expected.items():
        found = gap((frame, labels, scores), metric, min_rows=4)
        shown = tuple((group.rows, group.figure) for group in found.groups)
        assert shown == tuple((rows, pytest.approx(rate)) for rows, rate in figures), metric
        assert found.gap == pytest.approx(abs(figures[0][1] - figures[1][1]))


@pytest.mark.parametrize("metric", [*RATES, "accuracy", "brier"])
def test_error_is_that_of_a_mean_of_the_groups_rows(metric: str) -> None:
    frame, labels, scores = example(900, 3)
    group = gap((frame, labels, scores), metric, resamples=2000).groups[1]
    rows = (frame["group"] == group.group).to_numpy()
    answers = scores >= 0.5
    values = {
        "selection_rate": answers[rows],
        "false_positive_rate": answers[rows & ~labels],
        "false_negative_rate": ~answers[rows & labels],
        "accuracy": (answers == labels)[rows],
        "brier": ((scores - labels) ** 2)[rows],
    }[metric]
    assert (group.rows, group.figure) == (len(values), pytest.approx(values.mean()))
    assert group.error == pytest.approx(values.std() / np.sqrt(len(values)), rel=0.06)


def test_a_planted_gap_is_shown_and_its_groups_are_named() -> None:
    found = gap(example(2000, 5, shift=0.3), "selection_rate")
    assert found.highest == "g0"
    assert found.gap is not None
    assert found.interval is not None
    assert 0.2 < found.interval.low < found.gap < found.interval.high
    figures = {group.group: group.figure for group in found.groups}
    assert found.gap == pytest.approx(max(figures.values()) - min(figures.values()))
    assert "between g0 (" in found.text


def test_equal_groups_are_seldom_shown_apart() -> None:
    shown = 0
    for seed in range(20):
        found = gap(example(600, 6, seed=seed), "selection_rate", resamples=100, seed=seed)
        assert found.interval is not None
        assert found.gap is not None
        assert found.gap > 0.02  # by chance alone
        shown += found.interval.low > 0
    assert shown <= 2


def test_few_rows_of_the_rates_own_kind_are_not_enough() -> None:
    frame, labels, scores = example(400, 4)
    labels = labels & (frame["group"] != "g1").to_numpy()
    found = gap((frame, labels, scores), "false_negative_rate", min_rows=20)
    small = found.groups[1]
    assert (small.group, small.rows, small.enough, small.figure) == ("g1", 0, False, None)
    assert "not enough data on 1 groups" in found.text
    assert "g1" not in (found.highest, found.lowest)


def test_one_group_has_no_gap() -> None:
    found = gap(example(120, 3), "accuracy", min_rows=100)
    assert (found.gap, found.interval) == (None, None)
    assert found.text == "fewer than two groups have a figure; not enough data on 3 groups"
    json.dumps(found.as_json(), allow_nan=False)


def test_groups_without_a_difference_between_rows_have_an_error_still() -> None:
    frame = pd.DataFrame({"group": ["a"] * 60 + ["b"] * 60})
    labels = np.arange(120) % 2 == 0
    found = gap((frame, labels, np.full(120, 0.9)), "selection_rate")
    assert found.gap == 0
    assert found.interval is not None
    assert found.interval.low == 0


def test_scores_that_are_no_numbers_have_no_gap() -> None:
    frame, labels, scores = example(300, 3)
    for metric in ("selection_rate", "accuracy"):
        assert gap((frame, labels, scores * np.nan), metric).gap is None


def test_groups_are_compared_in_other_tasks_metrics_too() -> None:
    generator = np.random.default_rng(2)
    frame = pd.DataFrame({"group": ["a", "b"] * 200})
    labels = generator.normal(10, 2, 400)
    answers = labels + generator.normal(0, 1, 400) * np.where(frame["group"] == "a", 1, 3)
    numbers = make_measures("regression")
    found = measure_fairness(
        numbers, frame, labels, answers, column="group", metric="mae", min_rows=50, resamples=300
    )
    assert (found.highest, found.lowest) == ("b", "a")
    assert found.interval is not None
    assert found.interval.low > 1


def test_what_the_task_has_not_is_refused() -> None:
    frame, labels, scores = example(100, 2)
    with pytest.raises(ValueError, match="no metric of this task"):
        gap((frame, labels, scores), "mae")
    with pytest.raises(ValueError, match="rate of binary answers"):
        gap((frame, labels.astype(np.float64), scores), "selection_rate")
