"""Binary metrics: against tables worked out by hand, and against scikit-learn."""

import math

import numpy as np
import pytest
import sklearn.metrics as reference
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve

from ferryman.evaluation.binary_metrics import BinaryMeasures
from ferryman.evaluation.calibration import BINS, calibration_bins
from ferryman.evaluation.confusion import confusion
from ferryman.evaluation.measures import make_measures

# Six rows; at 0.5 the answers are 1 1 1 0 0 0.
LABELS = [True, True, False, True, False, False]
SCORES = [0.9, 0.8, 0.6, 0.4, 0.2, 0.1]
MEASURES = make_measures("binary")


def test_table_worked_out_by_hand() -> None:
    found = MEASURES.score(LABELS, SCORES)
    # Two of three answers are right in either class, and two of three rows of either are found.
    for name in ("accuracy", "precision", "recall", "f1", "precision_macro", "f1_weighted"):
        assert found[name] == pytest.approx(2 / 3), name
    # of 9 pairs of a positive and a negative one only (0.4, 0.6) is the wrong way round
    assert found["roc_auc"] == pytest.approx(8 / 9)
    # the positives are the first, the second and the fourth of the order: 1/1, 2/2, 3/4
    assert found["pr_auc"] == pytest.approx((1 + 1 + 3 / 4) / 3)
    squares = 0.1**2 + 0.2**2 + 0.6**2 + 0.6**2 + 0.2**2 + 0.1**2
    assert found["brier"] == pytest.approx(squares / 6)
    product = 0.9 * 0.8 * 0.4 * 0.4 * 0.8 * 0.9
    assert found["log_loss"] == pytest.approx(-math.log(product) / 6)
    # six rows in ten bins of equal counts: each row is a bin of its own
    residuals = 0.1 + 0.2 + 0.6 + 0.6 + 0.2 + 0.1
    assert found["calibration_error"] == pytest.approx(residuals / 6)
    assert found["base_rate"] == 0.5
    assert found["rows"] == 6


def test_averages_worked_out_by_hand() -> None:
    # Answers 1 0 0 0 to labels 1 1 1 0: "yes" has precision 1, recall 1/3, f1 1/2;
    # "no" has precision 1/3, recall 1, f1 1/2; the weights are 3/4 and 1/4.
    found = MEASURES.score([True, True, True, False], [0.9, 0.1, 0.2, 0.3])
    assert found["precision_macro"] == pytest.approx((1 + 1 / 3) / 2)
    assert found["recall_macro"] == pytest.approx((1 / 3 + 1) / 2)
    assert found["f1_macro"] == pytest.approx(0.5)
    assert found["precision_weighted"] == pytest.approx(3 / 4 * 1 + 1 / 4 / 3)
    assert found["recall_weighted"] == pytest.approx(3 / 4 / 3 + 1 / 4)
    assert found["f1_weighted"] == pytest.approx(0.5)


def test_ties_are_passed_together() -> None:
    same = MEASURES.score([True, False, True, False], [0.5, 0.5, 0.5, 0.5])
    assert (same["roc_auc"], same["pr_auc"]) == (0.5, 0.5)
    some = MEASURES.score([True, False, False], [0.5, 0.5, 0.1])
    assert (some["roc_auc"], some["pr_auc"]) == (0.75, 0.5)


def test_confusion_and_threshold() -> None:
    counts = confusion(np.array(LABELS), np.array(SCORES))
    assert counts.as_json() == {
        "names": ["no", "yes"],
        "counts": [[2, 1], [1, 2]],
        "threshold": 0.5,
    }
    assert BinaryMeasures(threshold=0.4).score(LABELS, SCORES)["recall"] == 1.0


def test_what_cannot_be_had_is_none() -> None:
    nothing_answered = MEASURES.score([True, False], [0.1, 0.2])
    assert nothing_answered["precision"] is None
    assert nothing_answered["recall"] == 0.0
    assert nothing_answered["f1"] == 0.0
    # in the averages the class that is there and never answered counts with 0
    assert nothing_answered["precision_macro"] == pytest.approx(0.25)
    one_class = MEASURES.score([False, False], [0.1, 0.2])
    for name in ("roc_auc", "pr_auc", "recall", "f1"):
        assert one_class[name] is None, name
    # a class with neither rows nor answers is left out of the averages
    assert (one_class["accuracy"], one_class["f1_macro"]) == (1.0, 1.0)
    assert MEASURES.score([True, True], [0.1, 0.2])["pr_auc"] == 1.0
    empty = MEASURES.score([], [])
    assert empty["rows"] == 0
    assert all(value is None for name, value in empty.items() if name != "rows")


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_scores_that_are_no_numbers_give_no_metric(bad: float) -> None:
    found = MEASURES.score([True, False, True], [0.5, bad, 0.5])
    assert found["rows"] == 3
    assert found["base_rate"] == pytest.approx(2 / 3)
    assert all(found[name] is None for name in MEASURES.names)


def test_certain_and_wrong_is_costly_but_finite() -> None:
    assert MEASURES.score([True, False], [0.0, 1.0])["log_loss"] == pytest.approx(-math.log(1e-7))


def test_unequal_shapes_and_unknown_metrics_are_mistakes() -> None:
    with pytest.raises(ValueError, match="must be equal"):
        MEASURES.score([True, False], [0.5])
    with pytest.raises(ValueError, match="no metrics of this task: rmse"):
        MEASURES.resampled([True, False], [0.5, 0.1]).metrics(np.ones((1, 2)), ["brier", "rmse"])


def test_calibration_error_is_that_of_bins_of_equal_counts() -> None:
    generator = np.random.default_rng(0)
    scores = generator.beta(2, 3, 5000)
    labels = generator.random(5000) < scores**2
    rates, said = calibration_curve(labels, scores, n_bins=BINS, strategy="quantile")
    rows = np.bincount(calibration_bins(scores))
    assert rows.tolist() == [500] * BINS
    expected = float((rows * np.abs(rates - said)).sum() / 5000)
    assert MEASURES.score(labels, scores)["calibration_error"] == pytest.approx(expected)
    assert expected > 0.1
    # one answer to all is one bin: what is left is the difference to the base rate
    flat = MEASURES.score(labels, np.full(5000, 0.5))
    assert flat["calibration_error"] == pytest.approx(abs(labels.mean() - 0.5))


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(st.booleans(), st.integers(1, 19)), min_size=4, max_size=60).filter(
        lambda rows: 0 < sum(row[0] for row in rows) < len(rows)
    )
)
def test_agrees_with_scikit_learn(rows: list[tuple[bool, int]]) -> None:
    labels = np.array([row[0] for row in rows])
    scores = np.array([row[1] / 20 for row in rows])
    answers = scores >= 0.5
    found = MEASURES.score(labels, scores)
    expected = {
        "roc_auc": reference.roc_auc_score(labels, scores),
        "pr_auc": reference.average_precision_score(labels, scores),
        "log_loss": reference.log_loss(labels, scores),
        "brier": reference.brier_score_loss(labels, scores),
        "accuracy": reference.accuracy_score(labels, answers),
        "recall": reference.recall_score(labels, answers),
        "f1": reference.f1_score(labels, answers),
    }
    if answers.any():
        expected["precision"] = reference.precision_score(labels, answers)
    for average in ("macro", "weighted"):
        three = reference.precision_recall_fscore_support(
            labels, answers, average=average, zero_division=0
        )[:3]
        for name, value in zip(("precision", "recall", "f1"), three, strict=True):
            expected[f"{name}_{average}"] = value
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, abs=1e-12), name
    matrix = reference.confusion_matrix(labels, answers, labels=[False, True])
    assert np.array_equal(confusion(labels, scores).counts, matrix)
