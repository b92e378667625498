"""Another unit is told of a night, by its name; weather, counts and signs are none."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from ferryman.monitoring.drift_findings import Comparison, Finding, Night, judge, remember
from ferryman.monitoring.drift_units import compare_units
from ferryman.profiles.day_profiles import merged, profile_days
from ferryman.spec.data import FeatureSpec
from ferryman.spec.monitoring import DriftSpec
from ferryman.spec.windows import Window

NUMBER = {"x": FeatureSpec(type="number")}
START = datetime(2024, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)
Floats = np.ndarray
Draw = Callable[..., Floats]


def weather(random: np.random.Generator, level: float = 55.0) -> Floats:
    """A day's degrees Fahrenheit as a gauge reads them: days lie one from another by 7 degrees."""
    return np.round((random.normal(level, 7) + random.normal(0, 3, 300) - 32) / 1.8) * 1.8 + 32


def smooth(random: np.random.Generator, level: float = 55.0) -> Floats:
    """The same of a gauge that never reads a value twice."""
    return np.asarray(random.normal(level, 2) + random.normal(0, random.uniform(2, 4), 300))


def compared(days: list[Floats], before: int = 16) -> Comparison:
    """What the last day's night says, of a model that was trained on the first days."""
    table = pa.table(
        {
            "x": np.concatenate(days),
            "event_time": pa.array(
                np.repeat([START + place * DAY for place in range(len(days))], 300),
                pa.timestamp("us", tz="UTC"),
            ),
        }
    )
    profiles = profile_days(table, NUMBER)
    reference = merged(list(profiles.values())[:before])
    logged = dict(list(profiles.items())[before:])
    start = START + (len(days) - 1) * DAY
    window = Window(start=start, end=start + DAY)
    (found,) = compare_units(reference, logged, NUMBER, window, DriftSpec())
    return found


@pytest.mark.parametrize(
    ("factor", "offset", "unit"),
    [
        (1 / 1.8, -32 / 1.8, "F to C"),
        (1.609344, 0.0, "miles to km"),
        (1 / 2.236936, 0.0, "mph to m/s"),
    ],
)
@pytest.mark.parametrize("draw", [weather, smooth])
def test_another_unit_is_told_on_its_night(
    draw: Draw, factor: float, offset: float, unit: str
) -> None:
    random = np.random.default_rng(1)
    days = [draw(random) for _ in range(26)]
    assert compared(days).p_value == 1.0
    found = compared([*days[:-1], days[-1] * factor + offset])
    assert found.p_value is not None
    assert found.effect is not None
    assert found.p_value < 1e-5
    assert found.effect > 1
    assert unit in found.text.removeprefix("x: as if its unit had become another one, ")


def test_another_unit_is_told_on_the_second_and_on_a_first_night_too() -> None:
    random = np.random.default_rng(2)
    days = [weather(random) for _ in range(26)]
    celsius = [(weather(random) - 32) / 1.8 for _ in range(2)]
    assert compared([*days, *celsius]).p_value < 1e-5  # type: ignore[operator]
    assert compared([*days[:16], celsius[0]]).p_value < 1e-5  # type: ignore[operator]


@pytest.mark.parametrize("level", [20.0, 100.0])
@pytest.mark.parametrize("draw", [weather, smooth])
def test_a_record_day_is_no_other_unit(draw: Draw, level: float) -> None:
    random = np.random.default_rng(3)
    days = [draw(random) for _ in range(26)]
    assert compared([*days, draw(random, level)]).p_value > 1e-3  # type: ignore[operator]


@pytest.mark.parametrize(
    "draw",
    [
        lambda *_: np.full(300, 3.0),
        lambda random, _: (random.random(300) < 0.3).astype(float),
        lambda random, _: random.choice([1e300, -1e300], 300),
        lambda random, last: random.poisson(30 if last else 3, 300).astype(float),
        lambda random, last: random.normal(0, 1, 300) * (-1 if last else 1),
        lambda random, last: np.round(random.normal(random.normal(-5 if last else 5, 4), 2, 300)),
        lambda random, last: np.maximum(0, random.normal(-1, 2 if last else 1, 300)),
        lambda random, last: random.normal(0, 1, 300) * last,
        lambda random, last: random.normal(900 + 270 * last, 800, 300),
    ],
    ids=[
        "constant",
        "flags",
        "huge",
        "counts",
        "signs",
        "whole degrees",
        "mostly 0",
        "constant",
        "miles",
    ],
)
def test_an_odd_column_has_no_unit(draw: Callable[[Any, bool], Floats]) -> None:
    random = np.random.default_rng(4)
    found = compared([draw(random, place == 25) for place in range(26)])
    assert found.p_value is not None
    assert found.p_value > 1e-3


def test_a_unit_is_told_once_and_what_follows_from_it_is_not_told() -> None:
    unit = Comparison("unit", "previous", "unit of x", "x", 2.0, "unit", 0.0, certain=True)
    column = Comparison("previous", "previous", "x", "x", 2.0, "shift", 0.0)
    past: list[Night] = []
    told: list[list[Finding]] = []
    for place in range(2):
        start = START + place * DAY
        told.append(judge([column, unit], past, DriftSpec(), start=start, version=1))
        past.append(remember([column, unit], told[-1], span=(start, start + DAY), version=1))
    outcomes = [[(one.kind, one.outcome, one.since) for one in night] for night in told]
    since = START.isoformat()
    assert outcomes == [
        [("unit", "alarm", since), ("previous", "still", since)],
        [("unit", "still", since), ("previous", "still", since)],
    ]
