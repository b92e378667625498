"""Metrics: against tables worked out by hand, and against scikit-learn."""

import math

import numpy as np
import pytest
import sklearn.metrics as reference
from hypothesis import given, settings
from hypothesis import strategies as st

from ferryman.evaluation.metrics import confusion, score_binary

# Six rows; at 0.5 the answers are 1 1 1 0 0 0.
LABELS = [True, True, False, True, False, False]
SCORES = [0.9, 0.8, 0.6, 0.4, 0.2, 0.1]


def test_table_worked_out_by_hand() -> None:
    found = score_binary(LABELS, SCORES)
    assert found["accuracy"] == pytest.approx(4 / 6)
    assert found["precision"] == pytest.approx(2 / 3)
    assert found["recall"] == pytest.approx(2 / 3)
    assert found["f1"] == pytest.approx(2 / 3)
    # of 9 pairs of a positive and a negative one only (0.4, 0.6) is the wrong way round
    assert found["roc_auc"] == pytest.approx(8 / 9)
    squares = 0.1**2 + 0.2**2 + 0.6**2 + 0.6**2 + 0.2**2 + 0.1**2
    assert found["brier"] == pytest.approx(squares / 6)
    product = 0.9 * 0.8 * 0.4 * 0.4 * 0.8 * 0.9
    assert found["log_loss"] == pytest.approx(-math.log(product) / 6)
    assert found["base_rate"] == 0.5
    assert found["rows"] == 6


def test_ties_count_half() -> None:
    assert score_binary([1, 0, 1, 0], [0.5, 0.5, 0.5, 0.5])["roc_auc"] == 0.5
    assert score_binary([1, 0, 0], [0.5, 0.5, 0.1])["roc_auc"] == 0.75


def test_confusion_and_threshold() -> None:
    counts = confusion(np.array(LABELS), np.array(SCORES), threshold=0.4)
    assert counts.as_dict() == {
        "true_negative": 2,
        "false_positive": 1,
        "false_negative": 0,
        "true_positive": 3,
        "threshold": 0.4,
    }
    assert score_binary(LABELS, SCORES, threshold=0.4)["recall"] == 1.0


def test_what_cannot_be_had_is_none() -> None:
    nothing_answered = score_binary([True, False], [0.1, 0.2])
    assert nothing_answered["precision"] is None
    assert nothing_answered["recall"] == 0.0
    assert nothing_answered["f1"] == 0.0
    one_class = score_binary([False, False], [0.1, 0.2])
    assert (one_class["roc_auc"], one_class["recall"], one_class["f1"]) == (None, None, None)
    assert one_class["accuracy"] == 1.0
    empty = score_binary([], [])
    assert empty["rows"] == 0
    assert all(value is None for name, value in empty.items() if name != "rows")


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_scores_that_are_no_numbers_give_no_metric(bad: float) -> None:
    found = score_binary([True, False, True], [0.5, bad, 0.5])
    assert found["rows"] == 3
    assert found["base_rate"] == pytest.approx(2 / 3)
    assert all(value is None for name, value in found.items() if name not in ("rows", "base_rate"))


def test_certain_and_wrong_is_costly_but_finite() -> None:
    assert score_binary([True, False], [0.0, 1.0])["log_loss"] == pytest.approx(-math.log(1e-7))


def test_unequal_shapes_are_a_mistake() -> None:
    with pytest.raises(ValueError, match="must be equal"):
        score_binary([True, False], [0.5])


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.booleans(), st.integers(1, 19)), min_size=4, max_size=60).filter(
        lambda rows: 0 < sum(row[0] for row in rows) < len(rows)
    )
)
def test_agrees_with_scikit_learn(rows: list[tuple[bool, int]]) -> None:
    labels = np.array([row[0] for row in rows])
    scores = np.array([row[1] / 20 for row in rows])
    answers = scores >= 0.5
    found = score_binary(labels, scores)
    expected = {
        "roc_auc": reference.roc_auc_score(labels, scores),
        "log_loss": reference.log_loss(labels, scores),
        "brier": reference.brier_score_loss(labels, scores),
        "accuracy": reference.accuracy_score(labels, answers),
        "recall": reference.recall_score(labels, answers),
        "f1": reference.f1_score(labels, answers),
    }
    if answers.any():
        expected["precision"] = reference.precision_score(labels, answers)
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, abs=1e-12), name
    tn, fp, fn, tp = reference.confusion_matrix(labels, answers).ravel()
    counts = confusion(labels, scores)
    assert (tn, fp, fn, tp) == (
        counts.true_negative,
        counts.false_positive,
        counts.false_negative,
        counts.true_positive,
    )
