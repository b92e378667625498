"""Bootstrap intervals: exact per resample, of the right width, repeatable, fast."""

import time
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from ferryman.evaluation.intervals import bootstrap, draw, paired_difference
from ferryman.evaluation.measures import Measures, make_measures
from ferryman.spec.metrics import METRICS_OF, Task

Arrays = tuple[npt.NDArray[np.bool_], npt.NDArray[np.float64]]
BINARY = make_measures("binary")


def example(rows: int, seed: int = 0, ties: bool = False) -> Arrays:
    generator = np.random.default_rng(seed)
    truth = generator.beta(2, 5, rows)
    labels = generator.random(rows) < truth
    scores = np.clip(truth + generator.normal(0, 0.1, rows), 0.01, 0.99)
    return labels, np.round(scores, 1) if ties else scores


def task_example(task: Task, rows: int, seed: int = 0) -> tuple[Measures, Any, Any]:
    """Measures, labels and predictions with ties; the third class is rare."""
    generator = np.random.default_rng(seed)
    if task == "binary":
        return BINARY, *example(rows, seed, ties=True)
    if task == "regression":
        labels = generator.integers(-3, 4, rows).astype(np.float64)
        return make_measures(task), labels, labels + generator.normal(0, 1, rows).round(1)
    places = generator.choice(3, rows, p=[0.6, 0.35, 0.05])
    raw = generator.integers(1, 4, (rows, 3)).astype(np.float64)
    raw[np.arange(rows), places] += 1
    scores = raw / raw.sum(axis=1, keepdims=True)
    return make_measures(task, ["a", "b", "c"]), places, scores


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_each_resample_is_the_metric_of_the_drawn_rows(task: Task) -> None:
    measures, labels, predictions = task_example(task, 60)
    # The bins of the calibration error stay those of all rows.
    names = [name for name in measures.names if name != "calibration_error"]
    counts = next(iter(draw(60, 25, seed=3)))
    found = measures.resampled(labels, predictions).metrics(counts, names)
    for index, count in enumerate(counts.astype(int)):
        rows = np.repeat(np.arange(60), count)
        assert len(rows) == 60
        expected = measures.score(labels[rows], predictions[rows])
        for name in names:
            value = np.nan if expected[name] is None else expected[name]
            assert found[name][index] == pytest.approx(value, abs=1e-9, nan_ok=True), name


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_every_metric_of_a_task_has_an_interval_that_holds_it(task: Task) -> None:
    measures, labels, predictions = task_example(task, 400)
    points = measures.score(labels, predictions)
    found = bootstrap(measures, labels, predictions, resamples=300)
    assert tuple(found) == METRICS_OF[task]
    for name, interval in found.items():
        point = points[name]
        assert interval is not None, name
        assert point is not None, name
        assert interval.low < point < interval.high, name


def test_a_calibrated_model_has_an_error_near_its_interval_and_never_below_zero() -> None:
    generator = np.random.default_rng(1)
    truth = generator.beta(2, 5, 1000)
    labels = generator.random(1000) < truth
    point = BINARY.score(labels, truth)["calibration_error"]
    interval = bootstrap(BINARY, labels, truth, metrics=["calibration_error"])["calibration_error"]
    assert interval is not None
    assert point is not None
    assert 0 <= interval.low < point < interval.high


def test_width_is_that_of_the_normal_approximation() -> None:
    labels, scores = example(4000)
    interval = bootstrap(BINARY, labels, scores, metrics=["brier"], resamples=2000)["brier"]
    assert interval is not None
    errors = (scores - labels) ** 2
    expected = 2 * 1.96 * errors.std() / np.sqrt(len(errors))
    assert interval.high - interval.low == pytest.approx(expected, rel=0.1)
    assert interval.low < errors.mean() < interval.high


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    large = example(200_000, seed=99)
    truth = BINARY.score(*large)["roc_auc"]
    assert truth is not None
    covered = 0
    for seed in range(100):
        labels, scores = example(300, seed=seed)
        interval = bootstrap(BINARY, labels, scores, metrics=["roc_auc"], resamples=400)["roc_auc"]
        assert interval is not None
        covered += interval.low <= truth <= interval.high
    assert 88 <= covered <= 100


def test_equal_seeds_give_equal_intervals_whatever_else_is_asked() -> None:
    labels, scores = example(500)
    all_of_them = bootstrap(BINARY, labels, scores, seed=5)
    assert (
        bootstrap(BINARY, labels, scores, metrics=["brier"], seed=5)["brier"]
        == all_of_them["brier"]
    )
    assert bootstrap(BINARY, labels, scores, seed=6) != all_of_them


def test_what_cannot_be_had_is_none() -> None:
    labels, scores = example(50)
    assert bootstrap(BINARY, [], [], metrics=["brier"]) == {"brier": None}
    assert bootstrap(BINARY, labels, np.where(labels, np.nan, scores), metrics=["f1"]) == {
        "f1": None
    }
    one_class = bootstrap(BINARY, np.zeros(50, bool), scores, metrics=["roc_auc", "brier"])
    assert one_class["roc_auc"] is None
    assert one_class["brier"] is not None
    # one positive row is missing from a third of all resamples
    rare = np.zeros(50, bool)
    rare[0] = True
    assert bootstrap(BINARY, rare, scores, metrics=["recall"])["recall"] is None


@pytest.mark.parametrize("metric", METRICS_OF["binary"])
def test_difference_is_positive_where_the_first_is_better(metric: str) -> None:
    generator = np.random.default_rng(4)
    labels, good = example(1500)
    bad = generator.permutation(good)
    better = paired_difference(BINARY, labels, good, bad, metric, resamples=300)
    worse = paired_difference(BINARY, labels, bad, good, metric, resamples=300)
    assert better is not None
    assert worse is not None
    assert better.low > 0
    assert (worse.estimate, worse.low, worse.high) == pytest.approx(
        (-better.estimate, -better.high, -better.low), abs=4e-3
    )
    same = paired_difference(BINARY, labels, good, good, metric, resamples=300)
    assert same is not None
    assert (same.low, same.high, same.estimate) == (0, 0, 0)


def test_pairing_narrows_the_interval() -> None:
    labels, scores = example(2000)
    other = np.clip(scores + np.random.default_rng(1).normal(0, 0.02, 2000), 0.01, 0.99)
    alone = bootstrap(BINARY, labels, scores, metrics=["log_loss"])["log_loss"]
    paired = paired_difference(BINARY, labels, scores, other, "log_loss")
    assert alone is not None
    assert paired is not None
    assert paired.high - paired.low < 0.3 * (alone.high - alone.low)


def test_rows_needed_are_rows_that_would_do() -> None:
    labels, scores = example(40_000)
    other = np.clip(scores + np.random.default_rng(1).normal(0, 0.1, 40_000), 0.01, 0.99)
    few = paired_difference(BINARY, labels[:400], scores[:400], other[:400], "log_loss")
    assert few is not None
    needed = few.rows_needed(0.0)
    assert needed is not None
    enough = min(40_000, 2 * needed)
    many = paired_difference(BINARY, labels[:enough], scores[:enough], other[:enough], "log_loss")
    assert many is not None
    assert many.low > 0
    assert few.rows_needed(few.estimate) is None
    # on the other side of the margin: rows that would show that it is not reached
    below = few.rows_needed(2 * few.estimate)
    assert below == pytest.approx(needed, abs=1)


def test_a_thousand_resamples_of_six_thousand_rows_take_under_a_second_of_cpu() -> None:
    labels, scores = example(6000)
    bootstrap(BINARY, labels[:100], scores[:100])  # the first call pays for lazy imports
    started = time.process_time()
    bootstrap(BINARY, labels, scores)
    assert time.process_time() - started < 1.0
