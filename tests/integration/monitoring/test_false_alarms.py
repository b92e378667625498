"""How often drift is told of nights on which nothing changed, and how soon of those that did."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from services.long_tests import seeds

from ferryman.data.windows.profile import profile_table
from ferryman.monitoring.drift import compare
from ferryman.monitoring.drift_findings import Finding, Night, judge, remember
from ferryman.monitoring.drift_night import compare_columns, compare_joint, newest_and_previous
from ferryman.profiles.column_profile import profile_json, read_profile
from ferryman.profiles.comparison import named_in
from ferryman.profiles.day_profiles import merged, profile_days
from ferryman.profiles.trained_days import read_days, with_days
from ferryman.spec.data import FeatureSpec
from ferryman.spec.monitoring import DriftSpec
from ferryman.spec.windows import Window

NUMBER, CATEGORY = FeatureSpec(type="number"), FeatureSpec(type="category")
START = datetime(2013, 2, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
NUMBERS, WORDS = [f"n{i}" for i in range(12)], [f"c{i}" for i in range(8)]
COLUMNS = dict.fromkeys(NUMBERS, NUMBER) | dict.fromkeys(WORDS, CATEGORY)


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


def drawn(random: np.random.Generator, place: int, rows: int, spread: float = 0.0) -> pa.Table:
    """A day's rows; `spread`: how far the day lies elsewhere, in standard deviations."""
    normal = random.normal(size=(rows, 12))
    normal[:, 1] = 0.6 * normal[:, 0] + 0.8 * normal[:, 1]
    normal += random.normal(0, spread, 12) if spread else 0.0
    columns: dict[str, Any] = {name: normal[:, i] for i, name in enumerate(NUMBERS)}
    columns["n11"] = np.exp(columns["n11"])
    for size, name in zip((2, 3, 4, 6, 10, 25, 60, 120), WORDS, strict=True):
        weights = np.exp(random.normal(0, spread, size)) / np.arange(1, size + 1)
        columns[name] = [f"v{i}" for i in random.choice(size, rows, p=weights / weights.sum())]
    times = pa.array([START + place * DAY] * rows, pa.timestamp("us", tz="UTC"))
    return pa.table({**columns, "event_time": times})


def findings(
    seed: int,
    nights: int,
    spread: float = 0.0,
    rows: int = 2000,
    change: Callable[[pa.Table, int], pa.Table] = lambda table, _: table,
) -> list[list[Finding]]:
    """What each night of a model finds in its columns, after four weeks of training."""
    random, spec = np.random.default_rng(seed), DriftSpec()
    trained = [profile_days(drawn(random, 0, rows, spread), COLUMNS) for _ in range(28)]
    parts = [profile for day in trained for profile in day.values()]
    stored = with_days(profile_json(merged(parts)), parts)
    reference, days = read_profile(stored), {}
    told: list[list[Finding]] = []
    past: list[Night] = []
    for place in range(nights):
        start = START.replace(hour=0) + place * DAY
        window = Window(start=start, end=start + DAY)
        table = change(drawn(random, place, rows, spread), place)
        days |= profile_days(table, COLUMNS, named_in(reference))
        _, compared = compare_columns(
            reference, days, COLUMNS, window, spec, trained=read_days(stored)
        )
        told.append(judge(compared, past, spec, start=start, version=1))
        past.append(remember(compared, told[-1], span=(start, start + DAY), version=1))
    return told


def moved(by: float, since: int) -> Callable[[pa.Table, int], pa.Table]:
    def change(table: pa.Table, place: int) -> pa.Table:
        if place < since:
            return table
        values = table["n2"].to_numpy() + by
        return table.set_column(table.schema.get_field_index("n2"), "n2", pa.array(values))

    return change


@pytest.mark.parametrize("seed", seeds(1, 2, 3))
@pytest.mark.parametrize("spread", [0.0, 0.3])
def test_sixty_quiet_nights_have_one_alarm_at_most(seed: int, spread: float) -> None:
    told = findings(seed, 60, spread, rows=400)
    assert sum(finding.outcome == "alarm" for night in told for finding in night) <= 1


@pytest.mark.parametrize("seed", seeds(1, 2, 3))
@pytest.mark.parametrize("since", [0, 9])
def test_a_shift_of_one_column_is_told_once_on_its_night_and_named(seed: int, since: int) -> None:
    told = findings(seed, 12, change=moved(0.3, since))
    alarms = [
        (place, finding.name)
        for place, night in enumerate(told)
        for finding in night
        if finding.outcome == "alarm"
    ]
    assert alarms == [(since, "n2")]
    assert {finding.name for finding in told[-1]} == {"n2"}
    assert "mean" in told[since][0].text


def test_a_small_shift_of_many_rows_is_no_alarm() -> None:
    told = findings(4, 2, rows=100_000, change=moved(0.03, 0))
    assert told == [[], []]


def test_a_correlation_that_turns_is_named_though_no_column_has_changed() -> None:
    random, spec = np.random.default_rng(5), DriftSpec()
    tables = [drawn(random, place, 600) for place in range(8)]
    turned = np.asarray(tables[-1]["n1"]) - 1.2 * np.asarray(tables[-1]["n0"])
    place = tables[-1].schema.get_field_index("n1")
    tables[-1] = tables[-1].set_column(place, "n1", pa.array(turned))
    start = START.replace(hour=0) + 7 * DAY
    window = Window(start=start, end=start + DAY)
    newest, previous = newest_and_previous(pa.concat_tables(tables), window, spec)
    found = judge(
        [compare_joint(newest, previous, COLUMNS, spec)], [], spec, start=start, version=1
    )
    assert [(finding.kind, finding.name) for finding in found] == [("joint", "n0 and n1")]
