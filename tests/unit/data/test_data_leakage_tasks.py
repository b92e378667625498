"""Leakage where the label is a class of many, or a number."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from ferryman.data.validation.leakage import Leak, check_labels, find_leaks
from ferryman.errors import DataRejected
from ferryman.spec.training import TrainSpec

ROWS = 2000
CLASSES = ["red", "green", "blue", "grey"]
RANDOM = np.random.default_rng(5)
PLACES = RANDOM.choice(4, ROWS, p=[0.4, 0.3, 0.2, 0.1])
NAMES = np.array(CLASSES, dtype=object)[PLACES]
NUMBERS = RANDOM.gamma(2.0, 50.0, ROWS)
STREETS = RANDOM.integers(0, 30, ROWS)


def train_spec(task: str, **given: object) -> TrainSpec:
    needed = {"framework": "sklearn", "pipeline": "p.py:build", "window": "14d", "holdout": "3d"}
    classes = CLASSES if task == "multiclass" else []
    return TrainSpec.model_validate({**needed, "task": task, "classes": classes, **given})


def leaks(values: object, kind: str, label: object, task: str, **given: object) -> list[Leak]:
    frame = pd.DataFrame({"x": values, "label": label})
    return find_leaks(frame, {"x": kind}, train_spec(task, **given))


CLASS_COPIES: dict[str, tuple[str, Callable[[], object]]] = {
    "its name": ("category", lambda: NAMES),
    "its code": ("integer", lambda: PLACES.astype(float)),
    "a permuted code": ("integer", lambda: np.array([7.0, 1.0, 30.0, 2.0])[PLACES]),
    "a code, null for one class": ("number", lambda: np.where(PLACES == 1, np.nan, PLACES)),
    "a word for several values": (
        "category",
        lambda: [f"{name}-{n % 3}" for n, name in enumerate(NAMES)],
    ),
    "the number that the classes are ranges of": ("number", lambda: PLACES + RANDOM.random(ROWS)),
    "the same in another order": (
        "number",
        lambda: np.array([20.0, 0.0, 10.0, 30.0])[PLACES] + RANDOM.random(ROWS),
    ),
}


@pytest.mark.parametrize("name", CLASS_COPIES)
def test_a_copy_of_a_class_is_found(name: str) -> None:
    kind, disguise = CLASS_COPIES[name]
    (leak,) = leaks(disguise(), kind, NAMES, "multiclass")
    assert leak.value >= 0.999
    assert "AUC" in str(leak)


def test_a_copy_of_a_class_says_so() -> None:
    (leak,) = leaks(NAMES, "category", NAMES, "multiclass")
    assert str(leak) == "column 'x' alone gives AUC 1.000 (it has 4 values, one for each class)"


def test_an_honest_column_of_a_class_is_no_leak() -> None:
    noisy = PLACES + RANDOM.normal(0, 0.3, ROWS)
    assert leaks(noisy, "number", NAMES, "multiclass") == []
    mostly = np.where(RANDOM.random(ROWS) < 0.97, NAMES, "red")
    assert leaks(mostly, "category", NAMES, "multiclass") == []
    assert leaks([f"row {n}" for n in range(ROWS)], "category", NAMES, "multiclass") == []
    assert leaks(np.full(ROWS, np.nan), "number", NAMES, "multiclass") == []


def test_what_tells_one_of_several_classes_is_a_good_feature() -> None:
    assert leaks(PLACES == 0, "integer", NAMES, "multiclass") == []
    assert leaks(np.where(PLACES == 0, "red", "else"), "category", NAMES, "multiclass") == []


def test_the_pixels_of_digits_are_no_leak_and_their_code_is() -> None:
    from sklearn.datasets import load_digits

    pixels, digits = load_digits(return_X_y=True)
    frame = pd.DataFrame(pixels, columns=[f"p{n}" for n in range(64)])
    frame["code"] = (digits * 7) % 10
    frame["label"] = digits.astype(str).astype(object)
    spec = train_spec("multiclass", classes=[str(n) for n in range(10)])
    found = find_leaks(frame, {name: "number" for name in frame.columns if name != "label"}, spec)
    assert [leak.column for leak in found] == ["code"]


def test_the_flowers_that_one_measure_tells_apart_are_no_leak() -> None:
    from sklearn.datasets import load_iris

    measures, species = load_iris(return_X_y=True)
    order = np.random.default_rng(3).permutation(len(species))
    frame = pd.DataFrame(measures[order], columns=list("abcd"))
    frame["label"] = np.array(CLASSES, dtype=object)[species[order]]
    assert find_leaks(frame, dict.fromkeys("abcd", "number"), train_spec("multiclass")) == []


NUMBER_COPIES: dict[str, tuple[str, Callable[[], object]]] = {
    "itself": ("number", lambda: NUMBERS),
    "another unit": ("number", lambda: NUMBERS * -2.54 + 1e6),
    "its logarithm": ("number", lambda: np.log(NUMBERS)),
    "null in a third of the rows": (
        "number",
        lambda: np.where(np.arange(ROWS) % 3 == 0, np.nan, NUMBERS),
    ),
}


@pytest.mark.parametrize("name", NUMBER_COPIES)
def test_a_copy_of_a_number_is_found(name: str) -> None:
    kind, disguise = NUMBER_COPIES[name]
    (leak,) = leaks(disguise(), kind, NUMBERS, "regression")
    assert leak.value >= 0.999999
    assert "R2 1.000" in str(leak)


def test_a_word_or_code_that_determines_the_number_is_found() -> None:
    prices = RANDOM.gamma(2.0, 50.0, 30)[STREETS]
    words = [f"street {n}" for n in STREETS]
    assert leaks(words, "category", prices, "regression")
    assert leaks(STREETS.astype(float), "integer", prices, "regression")
    noisy = prices + RANDOM.normal(0, 1, ROWS)
    assert leaks(words, "category", noisy, "regression") == []


def test_an_honest_column_of_a_number_is_no_leak() -> None:
    assert leaks(NUMBERS + RANDOM.normal(0, 2, ROWS), "number", NUMBERS, "regression") == []
    assert leaks([f"row {n}" for n in range(ROWS)], "category", NUMBERS, "regression") == []
    assert leaks(np.zeros(ROWS), "number", NUMBERS, "regression") == []
    assert leaks(np.full(ROWS, np.nan), "number", NUMBERS, "regression") == []
    rare = np.where(np.arange(ROWS) % 50 == 0, NUMBERS, np.nan)
    assert leaks(rare, "number", NUMBERS, "regression") == []


def test_a_regression_may_say_that_one_column_shall_explain_all() -> None:
    assert leaks(NUMBERS, "number", NUMBERS, "regression", suspicious_r2=None) == []
    assert leaks([1.0, 2.0, 3.0], "number", [2.0, 4.0, 6.0], "regression") == []  # luck would do


@pytest.mark.parametrize(
    ("task", "label", "text"),
    [
        ("multiclass", ["red"] * 3, "all 3 training rows are of class 'red', of 4 declared"),
        ("regression", [2.5] * 4, "all 4 training rows have the number 2.5"),
    ],
)
def test_a_constant_label_is_told_with_counts(task: str, label: list[object], text: str) -> None:
    with pytest.raises(DataRejected, match=text):
        check_labels(pd.DataFrame({"label": label}), "y", train_spec(task))
    with pytest.raises(DataRejected, match="there is no training row"):
        check_labels(pd.DataFrame({"label": label[:0]}), "y", train_spec(task))
    two = pd.DataFrame({"label": [*label, "blue" if task == "multiclass" else 1.0]})
    check_labels(two, "y", train_spec(task))
