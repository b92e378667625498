"""A unit is told from a move, a slice from a rise everywhere, a cause from what it causes."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from ferryman.monitoring.declarations import changed_keys
from ferryman.monitoring.diagnosis import Change, Diagnosis, alarms_of, rank
from ferryman.monitoring.diagnosis_columns import ColumnMove, column_moves
from ferryman.monitoring.diagnosis_release import weighed_release
from ferryman.monitoring.diagnosis_slices import BadSlice, Losses, PartedColumn, bad_slices
from ferryman.profiles.category_profile import CategoryProfile
from ferryman.profiles.day_profiles import merged
from ferryman.profiles.number_profile import NumberCounter, NumberProfile
from ferryman.spec.monitoring import MonitorSpec
from ferryman.spec.windows import Window
from ferryman.steps.code_changes import commits_between

HOURS = ("0", "6", "12", "18")


def numbers(values: Any, nulls: int = 0) -> NumberProfile:
    counter = NumberCounter("number")
    counter.add(np.asarray(values, dtype=np.float64), nulls)
    return counter.profile()


def move(before: Any, now: Any) -> ColumnMove | None:
    found = column_moves({"x": before}, {"x": now})
    return found[0] if found else None


@pytest.mark.parametrize(
    ("change", "unit", "factor"),
    [
        (lambda x: x * 1.8 + 32, "C to F", 1.8),
        (lambda x: (x - 32) / 1.8, "F to C", 1 / 1.8),
        (lambda x: x * 1000, "thousandfold, such as km to m", 1000),
        (lambda x: x / 60, "seconds to minutes, or minutes to hours", 1 / 60),
        (lambda x: -x, "the sign turned", -1),
        (lambda x: x * 0.4 + 500, "", 0.4),
    ],
)
def test_a_unit_is_named_though_the_days_differ(
    change: Callable[[Any], Any], unit: str, factor: float
) -> None:
    random = np.random.default_rng(0)
    found = move(
        numbers(random.normal(15, 8, 3000)), numbers(change(random.normal(15.6, 7.8, 700)))
    )
    assert found is not None
    assert (found.kind, found.unit) == ("unit", unit)
    assert found.factor == pytest.approx(factor, rel=0.1)


def test_a_move_is_no_unit_and_a_quiet_day_is_no_move() -> None:
    random = np.random.default_rng(1)
    before = numbers(random.normal(15, 8, 3000))
    assert move(before, numbers(random.normal(15, 8, 500))) is None
    warmer = move(before, numbers(random.normal(27, 8, 500)))
    assert warmer is not None
    assert warmer.kind == "moved"
    # What good days do among themselves is no move, either.
    days = [{"x": numbers(random.normal(mean, 8, 500))} for mean in (9, 15, 21)]
    warm = {"x": numbers(random.normal(21, 8, 500))}
    assert not column_moves({"x": before}, warm, days=days)


def test_where_days_are_unlike_a_storm_is_no_unit_and_a_unit_is_told() -> None:
    random = np.random.default_rng(2)

    def weather(*means: float) -> list[dict[str, NumberProfile]]:
        return [{"temp": numbers(random.normal(mean, 4, 300))} for mean in means]

    good = weather(58, 66, 71, 62, 74, 55, 69, 65, 60, 72)
    before = merged(good)

    def found(days: list[dict[str, NumberProfile]]) -> list[tuple[str, str]]:
        moves = column_moves(before, days[-1], days=good, since=days[:-1])
        return [(one.kind, one.unit) for one in moves]

    assert found(weather(84)) == []
    assert found(weather(50, 44)) == []
    for unit, change in {
        "F to C": lambda x: (x - 32) / 1.8,
        "percent to a share, or cm to m": lambda x: x / 100,
    }.items():
        means = (67, 60, 70, 64)
        days = [{"temp": numbers(change(random.normal(mean, 4, 300)))} for mean in means]
        assert found(days) == [("unit", unit)]


def test_nulls_new_values_and_types_are_told() -> None:
    before = numbers(range(100))
    lost = move(before, numbers(range(40), nulls=60))
    assert lost is not None
    assert (lost.kind, lost.text) == (
        "nulls",
        "column x: 60% of the rows have no value, 0% before",
    )
    words = CategoryProfile(100, 0, {"AA": 60, "UA": 40}, distinct=2)
    renamed = move(words, CategoryProfile(100, 0, {"AA": 60, "United": 40}, distinct=2))
    assert renamed is not None
    assert (renamed.kind, renamed.text) == (
        "categories",
        "column x: 40% of the rows have new values: 'United'",
    )
    absent = move(words, CategoryProfile(100, 0, {"AA": 30, "": 70}, distinct=2))
    assert absent is not None
    assert absent.kind == "nulls"
    text = move(before, words)
    assert text is not None
    assert text.kind == "type"
    assert move(numbers(range(10)), numbers(range(500, 510))) is None  # too few rows


def sides(seed: int, excess: Callable[[Any, Any], Any]) -> list[str]:
    """The slices that are named of 14 good days and 7 since."""
    random, parts, losses = np.random.default_rng(seed), [], []
    for days in (14, 7):
        rows = 300 * days
        carrier, hour = random.integers(0, 3, rows), random.integers(0, 4, rows)
        day = random.integers(0, days, rows)
        loss = random.gamma(1, 0.3, rows) + 0.1 * random.normal(size=days)[day]
        if days == 7:
            loss = loss + excess(carrier, hour)
        parts.append((carrier, hour))
        losses.append(Losses(loss, day))
    columns = {
        "carrier": PartedColumn(("AA", "B6", "UA"), parts[0][0], parts[1][0]),
        "hour": PartedColumn(HOURS, parts[0][1], parts[1][1]),
    }
    return [one.name for one in bad_slices(columns, *losses, least=50)]


def test_the_slice_is_named_and_what_hits_all_names_none() -> None:
    assert sides(0, lambda carrier, _: 0.6 * (carrier == 2)) == ["carrier=UA"]
    both = sides(0, lambda carrier, hour: 0.6 * ((carrier == 2) & (hour == 1)))
    assert both == ["carrier=UA, hour=6"]
    assert [sides(seed, lambda carrier, _: 0.3 + 0 * carrier) for seed in range(5)] == [[]] * 5
    assert [sides(seed, lambda carrier, _: 0 * carrier) for seed in range(5)] == [[]] * 5


def test_a_bad_day_is_no_slice() -> None:
    random, sides_of, losses = np.random.default_rng(5), [], []
    for days, storms in ((14, ()), (7, (2, 3))):
        day = np.repeat(np.arange(days), 300)
        storm = np.isin(day, storms)
        # An icy wind blows on two days only, or hardly ever; these days are bad for everybody.
        wind = np.where(storm, random.integers(0, 2, len(day)), random.random(len(day)) < 0.002)
        losses.append(Losses(random.gamma(1, 0.3, len(day)) + 0.8 * storm, day))
        sides_of.append((wind.astype(np.int64), random.integers(0, 3, len(day))))
    columns = {
        "wind": PartedColumn(("still", "icy"), sides_of[0][0], sides_of[1][0]),
        "carrier": PartedColumn(("AA", "B6", "UA"), sides_of[0][1], sides_of[1][1]),
    }
    assert bad_slices(columns, *losses, least=5) == []


def test_a_release_is_weighed_by_the_losses_of_both_versions() -> None:
    change = Change("version", "version 3", "version 3 serves", "ferryman rollback", 0.6)
    random = np.random.default_rng(3)

    def rows(days: int, more: float) -> Losses:
        day = np.repeat(np.arange(days), 200)
        noise = 0.05 * random.normal(size=days)[day]
        return Losses(random.gamma(1, 0.3, len(day)) + noise + more, day)

    worse = weighed_release(change, rows(8, 0.0), rows(4, 0.3))
    assert worse.weight > 0.6
    assert "its loss is 0.5" in worse.text
    same = weighed_release(change, rows(8, 0.0), rows(4, 0.0))
    assert same.weight < 0.6
    assert "which is how days differ" in same.text
    assert weighed_release(change, rows(8, 0.0), rows(1, 3.0)) == change  # one day tells nothing


def test_a_cause_stands_before_what_it_causes() -> None:
    unit = ColumnMove("temp", "unit", 1.0, "column temp: another unit", 1.8, 32.0, "C to F")
    query = Change(
        "code", "commit abc", "commit abc changed features.sql", "revert", 0.8, feeds=True
    )
    engine = Change("code", "code a -> b", "code a -> b", "read", 0.4)
    assert [one.name for one in rank([query], [unit], [], "m")] == ["commit abc", "column temp"]
    assert [one.name for one in rank([engine], [unit], [], "m")] == ["column temp", "code a -> b"]
    assert "since then column temp" in rank([query], [unit], [], "m")[0].text


def test_a_text_has_six_lines_at_most_and_says_where_nothing_explains() -> None:
    changes = [Change("code", f"c{n}", "long " * 200, "revert", n / 10) for n in range(6)]
    said = Diagnosis("m", "w", ["first\nalarm", "second"], "g", rank(changes, [], [], "m"), "file")
    assert len(said.text.splitlines()) == 5
    assert said.text.startswith("Alarm: first alarm (and 1 more)\n")
    nothing = Diagnosis("m", "w", ["first"], "g")
    assert nothing.title == "m w: nothing changed that explains it"
    assert Diagnosis("m", "w", [], None).title == "m w: nothing alarms"


def test_alarms_are_read_of_reports_of_any_age() -> None:
    window = Window.model_validate({"start": "2013-01-01T00:00:00Z", "end": "2013-01-02T00:00:00Z"})
    assert alarms_of({}, MonitorSpec(), window) == []
    report = {"drift": {"findings": [{"text": "x drifted"}]}, "worse": ["AA"], "slow": ["p95"]}
    assert alarms_of(report, MonitorSpec(), window) == ["x drifted", "AA", "p95"]


def test_keys_of_a_declaration_that_changed_are_named() -> None:
    before = {"train": {"params": {"C": 1.0}, "seed": 1}, "gone": 1}
    now = {"train": {"params": {"C": 0.1}, "seed": 1}, "new": [1]}
    assert changed_keys(before, now) == [
        "gone: 1 -> nothing",
        "new: nothing -> [1]",
        "train.params.C: 1.0 -> 0.1",
    ]


def test_what_is_no_commit_is_never_given_to_git(tmp_path: Any) -> None:
    assert commits_between(tmp_path, "--output=x-dirty", "a" * 40) == []
    assert commits_between(tmp_path, "unknown", "a" * 40) == []
    assert commits_between(tmp_path, "b" * 40, "a" * 40) == []


def test_a_slice_that_the_report_names_is_a_culprit_where_no_excess_is_shared_out() -> None:
    bad = BadSlice(("c",), ("a",), 90, 0.2, 0.9, 0.4, 0.1, 0.9, 0.7, 1.1, 1e-9)
    worse = [
        {"column": "c", "value": value, "text": f"c {value}: worse", "outcome": "worse"}
        for value in ("a", "b")
    ]
    said = rank([], [], [bad], "m", worse=worse)
    assert [one.name for one in said] == ["slice c=a", "slice c=b"]
    assert (said[0].facts["share"], said[1].text) == (0.9, "slice c b: worse")
    assert "ferryman run training --model m" in said[1].remedy
