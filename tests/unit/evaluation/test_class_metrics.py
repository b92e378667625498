"""Multiclass metrics: against a table worked out by hand, and against scikit-learn."""

import math

import numpy as np
import numpy.typing as npt
import pytest
import sklearn.metrics as reference
from hypothesis import given, settings
from hypothesis import strategies as st

from ferryman.evaluation.confusion import confusion
from ferryman.evaluation.measures import make_measures

CLASSES = ("a", "b", "c")
MEASURES = make_measures("multiclass", CLASSES)
# Five rows; the answers are a b b a c.
LABELS = [0, 0, 1, 2, 2]
SCORES = [
    [0.6, 0.3, 0.1],
    [0.3, 0.5, 0.2],
    [0.2, 0.7, 0.1],
    [0.5, 0.1, 0.4],
    [0.1, 0.1, 0.8],
]


def test_table_worked_out_by_hand() -> None:
    found = MEASURES.score(LABELS, SCORES)
    assert found["accuracy"] == pytest.approx(3 / 5)
    # a: one of two answers right, one of two rows found; b: 1/2 and 1/1; c: 1/1 and 1/2
    assert found["precision_macro"] == pytest.approx((1 / 2 + 1 / 2 + 1) / 3)
    assert found["recall_macro"] == pytest.approx((1 / 2 + 1 + 1 / 2) / 3)
    assert found["f1_macro"] == pytest.approx((1 / 2 + 2 / 3 + 2 / 3) / 3)
    assert found["precision_weighted"] == pytest.approx((2 / 2 + 1 / 2 + 2) / 5)
    assert found["recall_weighted"] == pytest.approx(3 / 5)
    assert found["f1_weighted"] == pytest.approx((2 / 2 + 2 / 3 + 4 / 3) / 5)
    # a: 0.6 and 0.3 against 0.2 0.5 0.1: one of six pairs is lost; b: none of four; c: none of six
    assert found["roc_auc"] == pytest.approx((5 / 6 + 1 + 1) / 3)
    # a: first and third of the order, 1/1 and 2/3; b and c come first
    assert found["pr_auc"] == pytest.approx(((1 + 2 / 3) / 2 + 1 + 1) / 3)
    product = 0.6 * 0.3 * 0.7 * 0.4 * 0.8
    assert found["log_loss"] == pytest.approx(-math.log(product) / 5)
    # squared errors of a row, summed over its classes
    rows = [
        0.16 + 0.09 + 0.01,
        0.49 + 0.25 + 0.04,
        0.04 + 0.09 + 0.01,
        0.25 + 0.01 + 0.36,
        0.01 + 0.01 + 0.04,
    ]
    assert found["brier"] == pytest.approx(sum(rows) / 5)
    # the answers said 0.6 0.5 0.7 0.5 0.8; the two of 0.5 share a bin and were both wrong
    assert found["calibration_error"] == pytest.approx((0.4 + 1.0 + 0.3 + 0.2) / 5)
    assert found["rows"] == 5
    assert (found["classes_without_rows"], found["classes_without_answers"]) == (0, 0)


def test_confusion_counts_what_was_by_what_was_answered() -> None:
    found = confusion(np.array(LABELS), np.array(SCORES), CLASSES)
    assert found.names == CLASSES
    assert found.counts == ((1, 1, 0), (0, 1, 0), (1, 0, 1))
    assert found.threshold is None


def test_a_class_never_answered_counts_with_nothing_and_is_told() -> None:
    found = MEASURES.score([0, 1, 2], [[0.6, 0.4, 0], [0.1, 0.9, 0], [0.7, 0.2, 0.1]])
    # a: 1/2 and 1/1; b: 1 and 1; c: never answered
    assert found["precision_macro"] == pytest.approx((1 / 2 + 1 + 0) / 3)
    assert found["f1_macro"] == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert found["classes_without_answers"] == 1


def test_a_class_that_is_not_there_does_not_count_and_is_told() -> None:
    found = MEASURES.score([0, 1, 1], [[0.6, 0.4, 0], [0.1, 0.9, 0], [0.2, 0.8, 0]])
    assert (found["precision_macro"], found["recall_macro"], found["roc_auc"]) == (1, 1, 1)
    assert found["classes_without_rows"] == 1
    # but where it is answered all the same, it counts: nothing of it was right
    answered = MEASURES.score([0, 1, 1], [[0.6, 0.4, 0], [0.1, 0.9, 0], [0.1, 0.2, 0.7]])
    assert answered["precision_macro"] == pytest.approx((1 + 1 + 0) / 3)
    assert answered["recall_macro"] == pytest.approx((1 + 1 / 2 + 0) / 3)


def test_what_cannot_be_had_is_none() -> None:
    one = MEASURES.score([1, 1], [[0.6, 0.4, 0], [0.1, 0.9, 0]])
    assert (one["roc_auc"], one["pr_auc"]) == (None, None)
    assert one["accuracy"] == 0.5
    empty = MEASURES.score([], [])
    assert (empty["rows"], empty["accuracy"], empty["classes_without_answers"]) == (0, None, None)
    broken = MEASURES.score([0, 1], [[math.nan, 0.4, 0], [0.1, 0.9, 0]])
    assert all(broken[name] is None for name in MEASURES.names)


@pytest.mark.parametrize(
    ("labels", "scores", "text"),
    [
        (
            [0, 1],
            [[0.5, 0.5], [0.5, 0.5]],
            r"must be \[rows\] and predictions \(2, 2\) \[rows, 3\]",
        ),
        ([0], [[0.2, 0.3, 0.5], [0.2, 0.3, 0.5]], "must be"),
        ([0, 3], [[0.2, 0.3, 0.5]] * 2, "whole numbers from 0 to 2"),
        ([0, -1], [[0.2, 0.3, 0.5]] * 2, "whole numbers from 0 to 2"),
        ([0, 0.5], [[0.2, 0.3, 0.5]] * 2, "whole numbers from 0 to 2"),
    ],
)
def test_wrong_shapes_are_mistakes(
    labels: list[float], scores: list[list[float]], text: str
) -> None:
    with pytest.raises(ValueError, match=text):
        MEASURES.score(labels, scores)
    with pytest.raises(ValueError, match="at least two classes"):
        make_measures("multiclass", ["one"])


def drawn(
    rows: int, classes: int, seed: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Labels of which every class has one, and probabilities with ties."""
    generator = np.random.default_rng(seed)
    labels = np.r_[np.arange(classes), generator.integers(0, classes, rows - classes)]
    raw = generator.integers(1, 6, (rows, classes)).astype(np.float64)
    raw[np.arange(rows), labels] += generator.integers(0, 4, rows)
    return labels, raw / raw.sum(axis=1, keepdims=True)


@settings(max_examples=20, deadline=None)
@given(st.integers(12, 80), st.integers(3, 6), st.integers(0, 10_000))
def test_agrees_with_scikit_learn(rows: int, classes: int, seed: int) -> None:
    labels, scores = drawn(rows, classes, seed)
    answers = scores.argmax(axis=1)
    found = make_measures("multiclass", [str(place) for place in range(classes)]).score(
        labels, scores
    )
    every = list(range(classes))
    one_hot = np.eye(classes)[labels]
    expected = {
        "roc_auc": reference.roc_auc_score(labels, scores, multi_class="ovr", labels=every),
        "pr_auc": reference.average_precision_score(one_hot, scores, average="macro"),
        "log_loss": reference.log_loss(labels, scores, labels=every),
        "brier": reference.brier_score_loss(labels, scores, labels=every),
        "accuracy": reference.accuracy_score(labels, answers),
    }
    for average in ("macro", "weighted"):
        three = reference.precision_recall_fscore_support(
            labels, answers, average=average, zero_division=0
        )[:3]
        for name, value in zip(("precision", "recall", "f1"), three, strict=True):
            expected[f"{name}_{average}"] = value
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, abs=1e-9), name
    matrix = reference.confusion_matrix(labels, answers, labels=every)
    assert np.array_equal(confusion(labels, scores, [str(n) for n in every]).counts, matrix)
