"""Joint and concept drift, and the one scale of all changes."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats

from ferryman.monitoring.drift_concept import Residuals, compare_residuals
from ferryman.monitoring.drift_joint import tell_apart
from ferryman.monitoring.drift_scale import LARGEST, area_shift, normal_shift, rate_shift
from ferryman.spec.data import FeatureSpec

NUMBER, CATEGORY = FeatureSpec(type="number"), FeatureSpec(type="category")
START = datetime(2024, 3, 1, 12, tzinfo=UTC)
COLUMNS = {"a": NUMBER, "b": NUMBER, "c": CATEGORY}


def test_one_scale_is_the_shift_of_a_normal_column() -> None:
    shift = stats.norm(0.3)
    moved = stats.norm.cdf(0.15) - shift.cdf(0.15)
    assert normal_shift(moved) == pytest.approx(0.3)
    assert area_shift(stats.norm.cdf(0.3 / np.sqrt(2))) == pytest.approx(0.3)
    assert (normal_shift(0.0), rate_shift(0.2, 0.2), area_shift(0.4)) == (0, 0, 0)
    assert normal_shift(1.0) == area_shift(1.0) == LARGEST
    assert rate_shift(0, 1) == pytest.approx(np.pi)


def rows(random: np.random.Generator, day: int, correlation: float, count: int = 120) -> pa.Table:
    """Rows of a day that lies somewhere else than others, with a correlation inside it."""
    a, b = random.normal(size=(2, count))
    b = correlation * a + np.sqrt(1 - correlation**2) * b
    times = pa.array([START + timedelta(days=day)] * count, pa.timestamp("us", tz="UTC"))
    words = random.choice(["u", "v"], count)
    moved = random.normal(0, 1, 2)
    return pa.table({"a": a + moved[0], "b": b + moved[1], "c": words, "event_time": times})


def test_a_correlation_that_turns_is_found_and_the_pair_is_named() -> None:
    random = np.random.default_rng(1)
    earlier = pa.concat_tables([rows(random, day, 0.6) for day in range(6)])
    quiet = tell_apart(rows(random, 6, 0.6), earlier, COLUMNS, min_rows=100)
    turned = tell_apart(rows(random, 6, -0.6), earlier, COLUMNS, min_rows=100)
    assert quiet.p_value is not None
    assert turned.p_value is not None
    assert quiet.p_value > 0.01
    assert turned.p_value < 1e-6
    assert turned.columns == ("a", "b")
    assert turned.effect is not None
    assert turned.effect > 0.5


def test_what_cannot_be_told_apart_has_an_outcome() -> None:
    random = np.random.default_rng(2)
    day = rows(random, 6, 0.6)
    two = pa.concat_tables([rows(random, place, 0.6) for place in range(2)])
    many = pa.concat_tables([rows(random, place, 0.6) for place in range(6)])
    assert tell_apart(day, two, COLUMNS, min_rows=100).outcome == "no_reference"
    assert tell_apart(day.slice(0, 5), many, COLUMNS, min_rows=100).outcome == "too_few_rows"
    assert tell_apart(day.slice(0, 0), many, COLUMNS, min_rows=100).outcome == "no_rows"
    assert tell_apart(day, many, {"a": NUMBER}, min_rows=100).outcome == "constant"
    odd = day.set_column(0, "a", pa.array([float("inf"), float("nan")] * 60))
    assert tell_apart(odd, many, COLUMNS, min_rows=100).outcome == "judged"
    text = day.set_column(0, "a", pa.array(["é"] * 120))
    assert tell_apart(text, many, COLUMNS, min_rows=100).outcome == "judged"


def residuals(random: np.random.Generator, days: int, changed: int, by: float) -> Residuals:
    """Days of 200 answers; on the last `changed` days labels are more frequent."""
    places = np.repeat(np.arange(days), 200)
    scores = random.uniform(0.1, 0.8, len(places))
    labels = random.random(len(places)) < scores + by * (places >= days - changed)
    return Residuals(places, scores, labels - scores)


def test_labels_that_no_longer_follow_from_scores_are_found() -> None:
    random = np.random.default_rng(3)
    quiet = compare_residuals(residuals(random, 21, 7, 0.0), np.arange(14, 21))
    assert quiet.p_value is not None
    assert quiet.p_value > 0.01
    changed = compare_residuals(residuals(random, 21, 7, 0.15), np.arange(14, 21), least=0.2)
    assert changed.p_value is not None
    assert changed.p_value < 1e-4
    assert changed.effect is not None
    assert changed.effect > 0.2


def test_days_that_vary_by_themselves_are_no_change() -> None:
    random = np.random.default_rng(4)
    places = np.repeat(np.arange(20), 500)
    moods = random.normal(0, 0.1, 20)[places]
    mood = Residuals(places, random.random(10_000), moods + random.normal(0, 0.3, 10_000))
    found = compare_residuals(mood, np.arange(19, 20))
    assert found.p_value is not None
    assert found.p_value > 0.001


def test_residuals_that_cannot_be_compared_have_an_outcome() -> None:
    none = Residuals(np.zeros(0, dtype=np.int64), np.zeros(0), np.zeros(0))
    assert compare_residuals(none, np.arange(3)).outcome == "no_rows"
    few = Residuals(np.arange(5), np.full(5, 0.5), np.full(5, 0.5))
    assert compare_residuals(few, np.arange(5)).outcome == "not_enough_labels"
    short = Residuals(np.repeat(np.arange(3), 50), np.full(150, 0.5), np.tile([0.5, -0.5], 75))
    assert compare_residuals(short, np.arange(2, 3)).outcome == "no_reference"
    always = Residuals(np.repeat(np.arange(9), 50), np.full(450, 1.0), np.zeros(450))
    assert compare_residuals(always, np.arange(8, 9)).effect == 0
