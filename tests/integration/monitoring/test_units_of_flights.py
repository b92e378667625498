"""Weather reports of 2013 that come in another unit: told on the first night, and named."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from ferryman.monitoring.drift_findings import Finding, judge
from ferryman.monitoring.drift_night import compare_columns
from ferryman.monitoring.drift_units import compare_units
from ferryman.profiles.column_profile import Profile
from ferryman.profiles.day_profiles import merged, profile_days
from ferryman.spec.data import FeatureSpec
from ferryman.spec.monitoring import DriftSpec
from ferryman.spec.windows import Window

SAMPLES = Path(__file__).parents[3] / "include" / "sample_data" / "flights"
NAMES = ("distance", "temp", "dewp", "humid", "wind_speed", "pressure", "visib")
COLUMNS = {name: FeatureSpec(type="number") for name in NAMES}
DAY = timedelta(days=1)
QUERY = """
    SELECT distance::DOUBLE AS distance, temp, dewp, humid, wind_speed, pressure, visib
    FROM read_parquet(?) JOIN read_parquet(?) USING (origin, time_hour)
"""


@cache
def flown(start: datetime) -> pa.Table:
    """The flights of a day, with the weather at their airport."""
    day = SAMPLES / "days" / f"flights_{start:%Y-%m-%d}.parquet"
    weather = SAMPLES / f"weather_{start:%Y-%m}.parquet"
    rows = duckdb.connect().sql(QUERY, params=[[str(day)], [str(weather)]]).to_arrow_table()
    times = pa.array([start + DAY / 2] * rows.num_rows, pa.timestamp("us", tz="UTC"))
    return rows.append_column("event_time", times)


@cache
def profiles(start: datetime) -> Profile:
    return profile_days(flown(start), COLUMNS)[f"{start:%Y-%m-%d}"]


def alarms(night: datetime, **change: Callable[[Any], Any]) -> list[Finding]:
    """What a night tells, after two weeks of training and two weeks of answers."""
    reference = merged([profiles(night - place * DAY) for place in range(28, 14, -1)])
    before = [night - place * DAY for place in range(14, 0, -1)]
    table = flown(night)
    for name, changed in change.items():
        values = changed(table[name].to_numpy(zero_copy_only=False))
        place = table.schema.get_field_index(name)
        table = table.set_column(place, name, pa.array(values, from_pandas=True))
    days = {f"{day:%Y-%m-%d}": profiles(day) for day in before} | profile_days(table, COLUMNS)
    window, spec = Window(start=night, end=night + DAY), DriftSpec()
    _, compared = compare_columns(reference, days, COLUMNS, window, spec)
    compared += compare_units(reference, days, COLUMNS, window, spec)
    found = judge(compared, [], spec, start=night, version=1)
    return [one for one in found if one.outcome == "alarm" and one.kind == "unit"]


@pytest.mark.parametrize("month", [1, 4, 7, 10])
def test_another_unit_is_told_on_its_night(month: int) -> None:
    night = datetime(2013, month, 30, tzinfo=UTC)
    assert alarms(night) == []
    found = alarms(
        night,
        temp=lambda degrees: (degrees - 32) / 1.8,
        pressure=lambda hectopascals: np.round(hectopascals / 33.86389, 2),
        wind_speed=lambda miles: miles * 1.609344,
        distance=lambda miles: miles * 1.609344,
    )
    units = {one.name: one.text.split("another one, ")[1].split(" (")[0] for one in found}
    assert units == {
        "temp": "F to C",
        "pressure": "hPa to inHg",
        "wind_speed": "miles to km",
        "distance": "miles to km",
    }
