"""Pictures: real PNGs, the same bytes for the same figures, whatever the names are."""

import struct

import numpy as np
import pytest

from ferryman.evaluation.curves import (
    answers_png,
    calibration_png,
    precision_recall_png,
    residuals_png,
    roc_png,
)
from ferryman.evaluation.pictures import (
    Bar,
    bars_png,
    confusion_png,
    history_png,
    importance_png,
    learning_curve_png,
    plain,
)

NAMES = ["$x$ <b>", "\\frac{", "天気", "a\nb" * 50]


def _size(png: bytes | None) -> tuple[int, int]:
    assert png is not None
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    assert b"tEXt" not in png  # no software, no time
    return struct.unpack(">II", png[16:24])


def test_confusion_of_any_number_of_classes() -> None:
    png = confusion_png([[50, 5], [7, 30]], ["no", "yes"], label="late")
    assert png == confusion_png([[50, 5], [7, 30]], ["no", "yes"], label="late")
    assert png != confusion_png([[50, 5], [8, 30]], ["no", "yes"], label="late")
    small = _size(png)
    many = _size(confusion_png(np.eye(4), NAMES, label="$y$"))
    assert many[0] >= small[0]
    wide = _size(confusion_png(np.eye(60), [str(n) for n in range(60)], label="y"))
    assert wide[0] <= 1400


def test_bars_without_enough_data() -> None:
    bars = [Bar("a", 0.7, 0.6, 0.8, 90), Bar(NAMES[0], None, rows=3), Bar(NAMES[1], 0.5)]
    png = bars_png(bars, unit="roc_auc", whole=0.65)
    _size(png)
    assert png != bars_png(bars, unit="roc_auc", whole=0.6)


def test_many_features_become_one_bar() -> None:
    few = _size(importance_png({f"f{n}": 1.0 for n in range(25)}, unit="value"))
    many = _size(importance_png({f"f{n}": 1.0 for n in range(400)}, unit="value"))
    assert many == few


def test_history_with_figures_that_are_none() -> None:
    history = [{"loss": 2.0, "auc": None}, {"loss": 1.0, "auc": 0.7}]
    _size(history_png(history))
    _size(history_png([{"loss": None}]))


def test_learning_curve() -> None:
    bars = [Bar("", 0.5, 0.4, 0.6), Bar("", 0.6, 0.5, 0.7)]
    _size(learning_curve_png([10, 20], [0.9, 0.8], bars, metric="log_loss"))
    _size(learning_curve_png([10, 20], [0.9, 0.8], [Bar("", None), bars[1]], metric="r2"))


@pytest.mark.parametrize("classes", [(), ("a", "$b$", "c")])
def test_curves(classes: tuple[str, ...]) -> None:
    generator = np.random.default_rng(1)
    if classes:
        labels = generator.integers(0, 3, 200)
        predictions = generator.dirichlet([1, 1, 1], 200)
    else:
        labels, predictions = generator.random(200) < 0.4, generator.random(200)
    for drawn in (roc_png, precision_recall_png, calibration_png):
        _size(drawn(labels, predictions, classes))


def test_no_curve_of_one_class() -> None:
    labels, predictions = np.ones(20, dtype=bool), np.linspace(0, 1, 20)
    assert roc_png(labels, predictions) is None
    assert precision_recall_png(labels, predictions) is None
    assert calibration_png(labels[:9], predictions[:9]) is None
    one = np.full((20, 2), 0.5)
    assert roc_png(np.zeros(20, dtype=np.int64), one, ["a", "b"]) is None


def test_numbers_against_the_truth() -> None:
    generator = np.random.default_rng(2)
    labels = generator.normal(size=5000)
    answers = labels + generator.normal(size=5000)
    assert answers_png(labels, answers, label="y") == answers_png(labels, answers, label="y")
    _size(residuals_png(labels, answers, label="y"))
    _size(answers_png(np.ones(3), np.ones(3), label="y"))  # three equal points


def test_names_are_no_formulas() -> None:
    assert plain("$a$") == r"\$a\$"
    assert plain("a\nb") == "a b"
    assert len(plain("x" * 500)) == 32
