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
from ferryman.monitoring.drift_joint import tell_apart
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
        chosen = pa.array(random.choice(size, rows, p=weights / weights.sum()))
        values = pa.array([f"v{i}" for i in range(size)])
        columns[name] = values.take(chosen)
    times = pa.array([START + place * DAY] * rows, pa.timestamp("us", tz="UTC"))
    return pa.table({**columns, "event_time": times})


def findings(
    seed: int,
    nights: int,
    spread: float = 0.0,
    rows: int = 2000,
    change: Callable[[pa.Table, int], pa.Table] = lambda table, _: table,
    trained: int = 28,
    columns: dict[str, FeatureSpec] = COLUMNS,
) -> list[list[Finding]]:
    """What each night of a model finds in its columns, after so many days of training.

    The rate is that of a model of 20 columns, however many are looked at.
    """
    random = np.random.default_rng(seed)
    spec = DriftSpec(significance=DriftSpec().significance * len(columns) / len(COLUMNS))
    before = [profile_days(drawn(random, 0, rows, spread), columns) for _ in range(trained)]
    parts = [profile for day in before for profile in day.values()]
    stored = with_days(profile_json(merged(parts)), parts)
    reference, days = read_profile(stored), {}
    told: list[list[Finding]] = []
    past: list[Night] = []
    for place in range(nights):
        start = START.replace(hour=0) + place * DAY
        window = Window(start=start, end=start + DAY)
        table = change(drawn(random, place, rows, spread), place)
        days |= profile_days(table, columns, named_in(reference))
        _, compared = compare_columns(
            reference, days, columns, window, spec, trained=read_days(stored)
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


def spoiled(name: str, value: str | None, share: float) -> Callable[[pa.Table, int], pa.Table]:
    """From the 20th night on the first rows of a column have another value, or none."""

    def change(table: pa.Table, place: int) -> pa.Table:
        if place < 20:
            return table
        values = table[name].to_pylist()
        count = int(share * len(values))
        kind = table.schema.field(name).type
        made = pa.array([value] * count + values[count:], kind)
        return table.set_column(table.schema.get_field_index(name), name, made)

    return change


@pytest.mark.parametrize(
    ("name", "value", "said"), [("n2", None, "3.0% nulls"), ("c2", "new", "never seen before")]
)
def test_nulls_and_new_values_are_told_however_unlike_days_are(
    name: str, value: str | None, said: str
) -> None:
    columns = {name: COLUMNS[name]}
    told = findings(1, 22, 0.3, rows=600, change=spoiled(name, value, 0.03), columns=columns)
    alarms = [
        (place, finding.name)
        for place, night in enumerate(told)
        for finding in night
        if finding.outcome == "alarm"
    ]
    assert alarms == [(20, name)]
    assert said in told[20][0].text


def test_a_small_shift_of_many_rows_is_no_alarm() -> None:
    told = findings(4, 2, rows=100_000, change=moved(0.03, 0), trained=14)
    assert told == [[], []]
    # What does matter is told of as many rows.
    assert [
        one.name for one in findings(4, 1, rows=100_000, change=moved(0.3, 0), trained=1)[0]
    ] == ["n2"]


def turned(table: pa.Table) -> pa.Table:
    """The same rows, in which the correlation of the first two columns is -0.6 instead of 0.6."""
    values = np.asarray(table["n1"]) - 1.2 * np.asarray(table["n0"])
    return table.set_column(table.schema.get_field_index("n1"), "n1", pa.array(values))


@pytest.mark.parametrize("seed", [1, 4, 21])
def test_unlike_days_neither_hide_a_correlation_that_turns_nor_are_told_apart(seed: int) -> None:
    """On these days ranks of the classifier's answers told a quiet day, or missed the other."""
    random = np.random.default_rng(seed)
    *days, newest = (drawn(random, place, 600, spread=0.3) for place in range(8))
    earlier = pa.concat_tables(days)
    quiet = tell_apart(newest, earlier, COLUMNS, min_rows=300)
    assert quiet.p_value is not None
    assert quiet.p_value > 0.01
    found = tell_apart(turned(newest), earlier, COLUMNS, min_rows=300)
    assert found.p_value is not None
    assert found.effect is not None
    assert found.p_value < 1e-6
    assert 0.8 < found.effect < 1.2


@pytest.mark.parametrize("seed", seeds(6, 7, 11))
def test_a_lasting_shift_is_told_within_the_window_of_days_that_are_unlike(seed: int) -> None:
    told = findings(seed, 38, 0.3, rows=300, change=moved(1.0, 30), columns={"n2": NUMBER})
    alarms = [place for place, night in enumerate(told) for one in night if one.outcome == "alarm"]
    assert len(alarms) == 1
    assert 30 <= alarms[0] <= 36


def test_a_correlation_that_turns_is_named_though_no_column_has_changed() -> None:
    random, spec = np.random.default_rng(5), DriftSpec()
    tables = [drawn(random, place, 600) for place in range(8)]
    tables[-1] = turned(tables[-1])
    start = START.replace(hour=0) + 7 * DAY
    window = Window(start=start, end=start + DAY)
    newest, previous = newest_and_previous(pa.concat_tables(tables), window, spec)
    found = judge(
        [compare_joint(newest, previous, COLUMNS, spec)], [], spec, start=start, version=1
    )
    assert [(finding.kind, finding.name) for finding in found] == [("joint", "n0 and n1")]
