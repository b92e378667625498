"""Real nights: the flights of 2013 from the sample data, with the weather at their airport."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from benchmarks.drift_alarms.lived_nights import Life, reference_of
from benchmarks.drift_alarms.made_nights import Day
from ferryman.profiles.day_profiles import profile_days
from ferryman.spec.data import FeatureSpec
from ferryman.spec.monitoring import DriftSpec
from ferryman.spec.windows import DAY, Window

SAMPLES = Path(__file__).parents[2] / "include" / "sample_data" / "flights"
_CATEGORIES = ("carrier", "origin", "dest")
_NUMBERS = ("distance", "minute_of_day", "temp", "dewp", "humid", "wind_speed", "pressure", "visib")
COLUMNS = {name: FeatureSpec(type="category") for name in _CATEGORIES} | {
    name: FeatureSpec(type="number") for name in _NUMBERS
}
_QUERY = """
    SELECT carrier, origin, dest, distance::DOUBLE AS distance,
        flown.hour * 60 + minute AS minute_of_day,
        temp, dewp, humid, wind_speed, pressure, visib, time_hour AS event_time
    FROM read_parquet(?) AS flown JOIN read_parquet(?) AS reports USING (origin, time_hour)
"""
TRAINED, LIVED = 28, 28  # days


def day_of(moment: datetime) -> Day:
    """The flights that were planned on a day, UTC, without scores."""
    days = [str(SAMPLES / "days" / f"flights_{moment:%Y-%m-%d}.parquet")]
    weather = [str(SAMPLES / f"weather_{moment:%Y-%m}.parquet")]
    rows = duckdb.connect().sql(_QUERY, params=[days, weather]).to_arrow_table()
    # A file of a day is New York's: its last hours are the next day in UTC.
    times = pa.array([moment + timedelta(hours=12)] * rows.num_rows, pa.timestamp("us", tz="UTC"))
    place = rows.schema.get_field_index("event_time")
    return Day(rows.set_column(place, "event_time", times), np.zeros(0), np.zeros(0))


def nights(
    begin: datetime, spec: DriftSpec, column: str | None = None, by: float = 0.0, count: int = LIVED
) -> Iterator[tuple[int, list[Any]]]:
    """The findings of each night after four weeks of training; a column may move from the middle.

    `by` is in standard deviations of the column in the training data.
    """
    trained = [profile_days(day_of(begin + k * DAY).table, COLUMNS) for k in range(TRAINED)]
    stored = reference_of(trained)
    life = Life(stored, spec, COLUMNS)
    for place in range(count):
        start = begin + (TRAINED + place) * DAY
        day = day_of(start)
        if column is not None and place >= count // 2:
            spread = float(stored[column]["std"])
            moved = pa.array(day.table[column].to_numpy(zero_copy_only=False) + by * spread)
            at = day.table.schema.get_field_index(column)
            day = Day(day.table.set_column(at, column, moved), day.scores, day.labels)
        yield place, life.live(day, Window(start=start, end=start + DAY))


def begins() -> list[datetime]:
    """The first days of training, four weeks apart."""
    return [datetime(2013, 1, 2, tzinfo=UTC) + place * 28 * DAY for place in range(11)]
