"""How often drift is told of columns that did not drift."""

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from ferryman.data.windows.profile import profile_table
from ferryman.monitoring.drift import compare
from ferryman.spec.data import FeatureSpec
from ferryman.spec.monitoring import DriftSpec

NUMBER = FeatureSpec(type="number")
START = datetime(2013, 2, 1, 12, tzinfo=UTC)


def number_profile(values: np.ndarray) -> dict[str, Any]:
    return dict(profile_table(pa.table({"x": values}), {"x": NUMBER})["x"])


def lived(columns: dict[str, Any], days: int = 5) -> pa.Table:
    """The columns as a logged table: rows dealt out over some days, so that all days are alike."""
    rows = len(next(iter(columns.values())))
    times = [START + timedelta(days=row % days) for row in range(rows)]
    return pa.table({**columns, "event_time": pa.array(times, pa.timestamp("us", tz="UTC"))})


def test_false_alarms_stay_at_the_declared_rate_over_all_columns() -> None:
    random = np.random.default_rng(3)
    columns = {f"c{i}": NUMBER for i in range(20)}
    spec = DriftSpec(effect=1e-6, significance=0.05, min_rows=100)
    reference = {name: number_profile(random.normal(0, 1, 3000)) for name in columns}
    nights = 120
    alarms = 0
    for _ in range(nights):
        table = lived({name: random.normal(0, 1, 500) for name in columns})
        alarms += any(column.drifted for column in compare(reference, table, columns, spec))
    # One reference for all nights makes them alike; naive tests would fire on 64 % of nights.
    assert alarms / nights <= 0.12
