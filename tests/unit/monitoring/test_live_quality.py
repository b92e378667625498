"""Quality says what it knows, and None with a reason where it knows nothing."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from ferryman.monitoring.labels import JOINED_SCHEMA
from ferryman.monitoring.quality import Quality, measure
from ferryman.spec.monitoring import QualitySpec

SPEC = QualitySpec(metric="log_loss", min_labels=200)


def joined(
    scores: np.ndarray, truth: list[bool | None], days: np.ndarray | None = None
) -> pa.Table:
    start = datetime(2013, 2, 1, 12, tzinfo=UTC)
    offsets = np.zeros(len(scores), int) if days is None else days
    times = [start + timedelta(days=int(offset)) for offset in offsets]
    columns = [
        [f"k{i}" for i in range(len(scores))],
        times,
        [1] * len(scores),
        [1] * len(scores),
        scores,
        truth,
        times,
    ]
    arrays = [
        pa.array(column, field.type) for column, field in zip(columns, JOINED_SCHEMA, strict=True)
    ]
    return pa.Table.from_arrays(arrays, schema=JOINED_SCHEMA)


def log_loss(truth: np.ndarray, scores: np.ndarray) -> dict[str, float | None]:
    if truth.all() or not truth.any():
        return {"log_loss": None}
    return {"log_loss": float(-np.mean(np.where(truth, np.log(scores), np.log(1 - scores))))}


def interval(truth: np.ndarray, scores: np.ndarray, metric: str) -> tuple[float, float]:
    value = log_loss(truth, scores)[metric]
    assert value is not None
    return value - 0.01, value + 0.01


def measured(table: pa.Table) -> Quality:
    return measure(table, SPEC, log_loss, interval)


def test_enough_labels_give_figures_and_coverage() -> None:
    random = np.random.default_rng(1)
    scores = random.uniform(0.1, 0.9, 400)
    truth: list[bool | None] = list(random.uniform(size=400) < scores)
    truth[300:] = [None] * 100
    quality = measured(joined(scores, truth))
    assert (quality.predicted, quality.labelled, quality.coverage) == (400, 300, 0.75)
    assert quality.value == pytest.approx(
        log_loss(np.array(truth[:300], bool), scores[:300])["log_loss"]
    )
    assert quality.low is not None
    assert quality.low < quality.value


def test_too_few_labels_are_said_and_never_zero() -> None:
    quality = measured(joined(np.full(50, 0.5), [True] * 12 + [None] * 38))
    assert quality.text == "not enough labels (n=12 < 200)"
    assert (quality.value, quality.low, quality.high, quality.calibration) == (None,) * 4
    assert quality.coverage == pytest.approx(0.24)


def test_nothing_predicted_has_no_coverage() -> None:
    quality = measured(JOINED_SCHEMA.empty_table())
    assert (quality.coverage, quality.predicted, quality.value) == (None, 0, None)


def test_one_class_only_has_no_figure() -> None:
    quality = measured(joined(np.full(300, 0.2), [False] * 300))
    assert quality.value is None
    assert "all False" in quality.text


def calibration_of(rates: list[float], score: float, seed: int):
    random = np.random.default_rng(seed)
    days = np.repeat(np.arange(len(rates)), 400)
    truth = list(random.uniform(size=len(days)) < np.array(rates)[days])
    quality = measured(joined(np.full(len(days), score), truth, days))
    assert quality.calibration is not None
    return quality.calibration


def test_a_prior_shift_shows_in_the_calibration() -> None:
    found = calibration_of([0.30, 0.32, 0.31, 0.29, 0.33, 0.30, 0.31], 0.13, 2)
    assert found.shifted
    assert found.difference == pytest.approx(0.18, abs=0.02)
    assert not calibration_of([0.20] * 7, 0.20, 3).shifted


def test_one_stormy_day_is_not_a_shift() -> None:
    # Rows alone would call it certain: 2800 rows, a mean 5 points up. Days know better.
    found = calibration_of([0.55, 0.15, 0.15, 0.15, 0.15, 0.15, 0.15], 0.15, 4)
    assert found.difference > 0.04
    assert not found.shifted


def test_calibration_interval_of_one_day_is_the_plain_one() -> None:
    found = calibration_of([0.25], 0.25, 5)
    reach = 1.966 * np.sqrt(found.base_rate * (1 - found.base_rate) / 399)
    assert found.high - found.difference == pytest.approx(reach, rel=0.01)
