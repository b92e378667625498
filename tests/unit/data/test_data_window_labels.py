"""The labels of a window: what became known in it, judged when it did."""

import datetime as dt
from typing import TYPE_CHECKING

import pytest

from ferryman.errors import DataRejected, SpecError

if TYPE_CHECKING:
    from conftest import World

# A correct features query but for its FROM.
SELECT = "SELECT began AS event_time, line, distance, 1.0 AS temp, began AS known"


def at(day: int, hour: int = 0, minute: int = 0, year: int = 2013) -> dt.datetime:
    return dt.datetime(year, 1, day, hour, minute, tzinfo=dt.UTC)


def test_the_labels_that_became_known_in_a_window(world: "World") -> None:
    labels = world.build(7).labels
    assert labels.to_pylist() == [
        {
            "entity_key": f"{line}|2013-01-06T{hour:02}:30:00Z",
            "event_time": at(6, hour, 30),
            "label": True,
            "known_at": at(7, hour, 30),
        }
        for line, hour in (("A", 6), ("B", 18))
    ]


def test_an_unknown_outcome_is_a_null_label(world: "World") -> None:
    world.trips[10]["delay"] = None
    assert world.build(7).labels.column("label").to_pylist() == [None, True]


def test_too_many_unknown_outcomes_are_refused(world: "World") -> None:
    world.trips[10]["delay"] = world.trips[11]["delay"] = None
    with pytest.raises(DataRejected) as caught:
        world.build(7)
    assert (
        "label 'late' is null for 2 of 2 events of [2013-01-06T00:00:00Z, 2013-01-07T00:00:00Z): "
        "more than the share 0.5 that label.max_unknown allows"
    ) in caught.value.text
    world.declaration["data"]["label"]["max_unknown"] = 1
    assert world.build(7).labels.column("label").null_count == 2


def test_zero_and_one_are_labels_and_other_classes_are_not(world: "World") -> None:
    world.labels_sql = "SELECT began AS event_time, line, (delay > 15)::INTEGER AS late FROM trips"
    assert world.build(7).labels.column("label").to_pylist() == [True, True]
    world.labels_sql = world.labels_sql.replace("::INTEGER", "::INTEGER + (line = 'B')::INTEGER")
    with pytest.raises(DataRejected) as caught:
        world.build(7)
    assert (
        "label 'late' has an unseen class, neither 0 nor 1, in 1 of 2 rows, the first in row 2 "
        "(B|2013-01-06T18:30:00Z): 2"
    ) in caught.value.text


def test_labels_judge_and_count_no_row_again(world: "World") -> None:
    """A bad row of yesterday was counted with yesterday's window, which it may have rejected."""
    world.trips[10]["distance"] = -5
    world.declaration["data"]["sources"]["trips"]["columns"]["distance"]["min"] = 0
    with pytest.raises(DataRejected, match="-5 is below 0"):
        world.build(6)
    built = world.build(7)
    assert built.sources["trips"].dropped == 0
    assert built.labels.num_rows == 1


def test_a_bad_outcome_is_judged_when_it_is_due(world: "World") -> None:
    """It came after the features of its event; a label must not be lost without a word."""
    world.declaration["data"]["sources"]["trips"]["columns"]["delay"]["max"] = 600
    world.build(6)
    world.trips[10]["delay"] = 99_999.0
    with pytest.raises(DataRejected, match=r"column 'delay', row 11: 99999\.0 is above 600"):
        world.build(7)
    world.declaration["data"]["max_rejected"] = 0.5
    built = world.build(7)
    assert built.labels.num_rows == 1
    assert built.sources["trips"].dropped == 1
    assert built.sources["trips"].counts == {"column 'delay': is above 600": 1}
    assert built.quarantine.column("value").to_pylist() == ["99999"]


def test_the_first_window_has_no_labels(world: "World") -> None:
    built = world.build(1)
    assert (built.features.num_rows, built.labels.num_rows) == (2, 0)
    assert built.labels.column_names == ["entity_key", "event_time", "label", "known_at"]


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        (
            "SELECT began AS event_time, line, delay AS late FROM trips",
            "'late' is double, and must be",
        ),
        ("SELECT began AS event_time, line FROM trips", "no column 'late'"),
        (
            "SELECT began AS event_time, line, true AS late, 1 AS x FROM trips",
            "a column 'x' too many",
        ),
    ],
)
def test_wrong_label_queries(world: "World", sql: str, words: str) -> None:
    world.labels_sql = sql
    with pytest.raises(SpecError) as caught:
        world.build(5)
    assert words in caught.value.text
    assert "labels.sql" in caught.value.text


def test_the_recorded_year_s_own_first_day_has_no_labels_of_its_last(world: "World") -> None:
    world.declaration["data"]["replay"] = {"year": 2013}
    last = dt.datetime(2013, 12, 31, 6, 30, tzinfo=dt.UTC)
    world.trips.append({"began": last, "line": "A", "distance": 1, "delay": 20.0})
    world.weather.append({"hour": last, "temp": 1.0})
    assert world.build(1).labels.num_rows == 0
    (label,) = world.build(1, year=2026).labels.to_pylist()
    assert label["entity_key"] == "A|2025-12-31T06:30:00Z"
