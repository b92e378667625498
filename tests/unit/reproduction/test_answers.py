"""How the answers of two models are compared, for every task."""

import copy

import numpy as np
import pytest

from ferryman.errors import ExitCode
from ferryman.reproduction.findings import CannotReproduce, Finding, Reproduction
from ferryman.reproduction.reproduce import compare_answers

NAMES = ["a at 1", "b at 2", "c at 3"]


def test_answers_within_the_tolerance_are_equal() -> None:
    recorded = np.array([0.1, 0.5, 0.9])
    done = compare_answers(recorded, recorded + 9e-7, NAMES)
    assert done.equal
    assert done.rows == 3
    assert done.max_difference == pytest.approx(9e-7)


def test_the_first_row_beyond_it_is_named_with_both_answers() -> None:
    done = compare_answers(np.array([0.1, 0.5, 0.9]), np.array([0.1, 0.52, 0.1]), NAMES)
    assert not done.equal
    assert (done.first_row, done.recorded, done.found) == ("row 1 (b at 2)", 0.5, 0.52)
    assert done.max_difference == pytest.approx(0.8)


def test_of_classes_the_first_class_beyond_it_is_told() -> None:
    recorded = np.array([[0.2, 0.8], [0.5, 0.5], [1.0, 0.0]])
    found = recorded.copy()
    found[2, 1] = 0.25
    done = compare_answers(recorded, found, NAMES)
    assert (done.first_row, done.recorded, done.found) == ("row 2 (c at 3)", 0.0, 0.25)


def test_large_values_differ_in_parts_of_themselves() -> None:
    recorded = np.array([1e6, -1e6, 0.0])
    assert compare_answers(recorded, recorded + np.array([0.5, -0.5, 0.0]), NAMES).equal
    assert not compare_answers(recorded, recorded + np.array([0.0, 2.0, 0.0]), NAMES).equal


@pytest.mark.parametrize(
    ("then", "now", "equal"),
    [
        (np.nan, np.nan, True),
        (np.inf, np.inf, True),
        (np.nan, 0.5, False),
        (0.5, np.nan, False),
        (np.inf, -np.inf, False),
        (0.5, np.inf, False),
    ],
)
def test_what_is_no_number_equals_only_itself(then: float, now: float, equal: bool) -> None:
    done = compare_answers(np.array([0.0, then, 0.0]), np.array([0.0, now, 0.0]), NAMES)
    assert done.equal is equal


def test_no_rows_are_equal() -> None:
    assert compare_answers(np.empty(0), np.empty(0), []).equal


def test_the_error_names_the_first_difference() -> None:
    bad = compare_answers(np.array([0.1, 0.5, 0.9]), np.array([0.2, 0.5, 0.9]), NAMES)
    last = Finding("predictions", False, "row 0")
    packages = Finding("packages", False, "numpy 1 then, 2 now")
    same = Finding("registry", True, "whole")
    surrounded = Reproduction("rain", 3, [same, packages, last], bad).error()
    assert surrounded.exit_code == ExitCode.INTEGRITY
    assert "rain/3 was not reproduced: row 0" in surrounded.text
    assert "the first thing that differs: packages: numpy 1 then, 2 now" in surrounded.text
    alone = Reproduction("rain", 3, [same, last], bad).error()
    assert "nothing else differs" in alone.text
    assert "seed" in alone.remedy
    stopped = Reproduction("rain", 3, [same, packages], remedy="Do this.").error()
    assert stopped.text == "rain/3 cannot be reproduced: packages: numpy 1 then, 2 now"
    assert stopped.remedy == "Do this."


def test_what_stands_in_the_way_is_a_finding_and_can_be_copied() -> None:
    error = CannotReproduce("recipe: not there: at all", remedy="Train.")
    again = copy.copy(error)
    assert again.finding == Finding("recipe", False, "not there: at all")
    assert again.remedy == "Train."
