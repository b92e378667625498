"""Leakage: a column that alone tells the label is found, and an honest or a random one is not."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from ferryman.data.validation.leakage import Leak, check_labels, find_leaks, refuse_leaks
from ferryman.errors import DataRejected, GateRefused
from ferryman.spec.training import TrainSpec

ROWS = 2000
LIMIT = 0.999


def train_spec(task: str = "binary", **given: object) -> TrainSpec:
    needed = {"framework": "sklearn", "pipeline": "p.py:build", "window": "14d", "holdout": "3d"}
    return TrainSpec.model_validate({**needed, "task": task, **given})


def labels_of(rows: int = ROWS, share: float = 0.3) -> "np.ndarray":
    return np.random.default_rng(1).random(rows) < share


def leaks(values: object, kind: str, label: "np.ndarray") -> list[Leak]:
    frame = pd.DataFrame({"x": values, "label": label})
    return find_leaks(frame, {"x": kind}, train_spec())


COPIES: dict[str, tuple[str, Callable[["np.ndarray"], object]]] = {
    "the label": ("integer", lambda y: y.astype(float)),
    "its negation": ("integer", lambda y: 1.0 - y),
    "another pair of numbers": ("number", lambda y: np.where(y, -7.5, 12.0)),
    "two words": ("category", lambda y: np.where(y, "late", "on time")),
    "null where it is false": ("number", lambda y: np.where(y, np.arange(len(y)), np.nan)),
    "null where it is true": ("number", lambda y: np.where(y, np.nan, -np.arange(len(y)))),
    "an empty word where it is true": ("category", lambda y: np.where(y, "", "here")),
    "a delay": ("number", lambda y: np.where(y, 16.0, 0.0) + np.arange(len(y)) % 15),
    "a status with many words": (
        "category",
        lambda y: [f"{'late' if late else 'fine'} {n % 7}" for n, late in enumerate(y)],
    ),
    "codes in no order": ("integer", lambda y: np.where(y, 2.0, np.arange(len(y)) % 2 * 4)),
}


@pytest.mark.parametrize("name", COPIES)
def test_a_copy_of_the_label_is_found(name: str) -> None:
    kind, disguise = COPIES[name]
    label = labels_of()
    (leak,) = leaks(disguise(label), kind, label)
    assert leak.column == "x"
    assert leak.value >= LIMIT


def test_honest_columns_are_no_leak() -> None:
    random = np.random.default_rng(2)
    label = labels_of()
    strong = label + random.normal(0, 0.35, ROWS)  # AUC about 0.98
    assert leaks(strong, "number", label) == []
    assert leaks(random.normal(size=ROWS), "number", label) == []
    assert leaks(np.zeros(ROWS), "number", label) == []
    assert leaks(np.full(ROWS, np.nan), "number", label) == []


def test_names_of_rows_are_no_leak() -> None:
    label = labels_of()
    assert leaks([f"trip {n}" for n in range(ROWS)], "category", label) == []
    # one name a group of rows that all end alike, and that never comes again
    groups = np.arange(ROWS) // 4
    same = labels_of(ROWS // 4)[groups]
    assert leaks([f"train {group}" for group in groups], "category", same) == []


def test_a_label_that_turns_in_time_does_not_make_a_constant_guilty() -> None:
    label = np.arange(ROWS) >= ROWS * 0.8
    assert leaks(["same"] * ROWS, "category", label) == []


@pytest.mark.parametrize("positives", [0, 1, 10])
def test_so_few_rows_that_luck_would_do(positives: int) -> None:
    label = np.arange(10) < positives
    assert leaks(label.astype(float), "number", label) == []


def test_a_copy_of_a_rare_label_is_found() -> None:
    label = np.zeros(5000, dtype=bool)
    label[[100, 1000, 3000, 4000]] = True
    assert leaks(label.astype(float), "number", label)


def test_the_refusal_names_columns_and_the_way_out() -> None:
    label = labels_of()
    frame = pd.DataFrame({f"copy_{n}": label * 1.0 for n in range(9)} | {"label": label})
    found = find_leaks(frame, {f"copy_{n}": "number" for n in range(9)}, train_spec())
    assert len(found) == 9
    with pytest.raises(GateRefused, match="accept_leakage=REASON") as caught:
        refuse_leaks(found, len(frame))
    assert caught.value.text == (
        "suspiciously good: "
        + "; ".join(
            f"column 'copy_{n}' alone gives AUC 1.000 (it has two values, one for each label)"
            for n in range(5)
        )
        + "; and 4 more columns, on 2000 training rows"
    )
    refuse_leaks([], 10)


def test_a_constant_label_is_told_with_counts() -> None:
    with pytest.raises(DataRejected, match="of 3 training rows, 3 are true and 0 false"):
        check_labels(pd.DataFrame({"label": [True] * 3}), "late", train_spec())
    check_labels(pd.DataFrame({"label": [True, False]}), "late", train_spec())
