"""Real nights: the flights of 2013 from the sample data, with the weather at their airport."""

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
NOTHING = "nothing"
# The column, what is taken from it, its new unit, and a shift in its standard deviations.
CHANGES = {
    "distance +0.3 sd": ("distance", 0.0, 1.0, 0.3),
    "distance +1 sd": ("distance", 0.0, 1.0, 1.0),
    "temp +1 sd": ("temp", 0.0, 1.0, 1.0),
    "distance in km": ("distance", 0.0, 1.609, 0.0),
    "temp in Celsius": ("temp", 32.0, 5 / 9, 0.0),
    "pressure in inHg": ("pressure", 0.0, 1 / 33.86389, 0.0),
    "wind in km/h": ("wind_speed", 0.0, 1.609344, 0.0),
    "wind in m/s": ("wind_speed", 0.0, 0.44704, 0.0),
}


def day_of(moment: datetime) -> Day:
    """The flights that were planned on a day, UTC, without scores."""
    days = [str(SAMPLES / "days" / f"flights_{moment:%Y-%m-%d}.parquet")]
    weather = [str(SAMPLES / f"weather_{moment:%Y-%m}.parquet")]
    rows = duckdb.connect().sql(_QUERY, params=[days, weather]).to_arrow_table()
    # A file of a day is New York's: its last hours are the next day in UTC.
    times = pa.array([moment + timedelta(hours=12)] * rows.num_rows, pa.timestamp("us", tz="UTC"))
    place = rows.schema.get_field_index("event_time")
    return Day(rows.set_column(place, "event_time", times), np.zeros(0), np.zeros(0))


def planted(table: Any, stored: dict[str, Any], change: str) -> Any:
    """A day's flights with one of CHANGES; `stored`: the profile of the training data."""
    column, zero, factor, by = CHANGES[change]
    values = (table[column].to_numpy(zero_copy_only=False) - zero) * factor
    moved = pa.array(values + by * float(stored[column]["std"]))
    return table.set_column(table.schema.get_field_index(column), column, moved)


def nights(begin: datetime, spec: DriftSpec) -> dict[str, list[tuple[int, Any]]]:
    """Four weeks after four of training: what was found, and on which night, for each change.

    Night 0 is that of the change, in the middle; what was before has the name "".
    """
    trained = [profile_days(day_of(begin + k * DAY).table, COLUMNS) for k in range(TRAINED)]
    stored = reference_of(trained)
    life = Life(stored, spec, COLUMNS)
    found: dict[str, list[tuple[int, Any]]] = {"": []}
    lives = {"": life}
    for place in range(-LIVED // 2, LIVED // 2):
        start = begin + (TRAINED + LIVED // 2 + place) * DAY
        if place == 0:
            lives = {NOTHING: life, **{change: life.parted() for change in CHANGES}}
        day = day_of(start)
        for change, own in lives.items():
            table = planted(day.table, stored, change) if change in CHANGES else day.table
            told = own.live(
                Day(table, day.scores, day.labels), Window(start=start, end=start + DAY)
            )
            found.setdefault(change, []).extend((place, one) for one in told)
    return found


def begins() -> list[datetime]:
    """The first days of training, four weeks apart."""
    return [datetime(2013, 1, 2, tzinfo=UTC) + place * 28 * DAY for place in range(11)]
