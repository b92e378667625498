"""Slices and groups of served answers: a planted fault is named, few rows are no data."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from served_world import TRAINED, ServedWorld

from ferryman.settings import Settings

DECLARED = """\
evaluation: {slices: [{column: carrier}, {column: distance, bins: 4}, {column: hour}]}
"""
FAIR = """\
  fairness: [{column: carrier, metric: false_negative_rate, max_gap: 0.2}]
"""
FIRST, LAST = TRAINED, TRAINED + 6


@pytest.fixture
def world(tmp_path: Path, make_bundle: Any) -> ServedWorld:
    settings = Settings(home=tmp_path / "home", zoo=tmp_path / "zoo")
    return ServedWorld(settings, make_bundle, FAIR + DECLARED)


def report(world: ServedWorld, change: Any = None) -> Any:
    """A week of answers, and what the last night says of it."""
    for day in range(FIRST, LAST + 1):
        world.serve(day, change)
    return world.night(LAST + 1, FIRST + 1)


def of(found: list[dict[str, Any]], outcome: str) -> list[tuple[str, str]]:
    return [(one["column"], one["value"]) for one in found if one["outcome"] == outcome]


def test_a_quiet_week_has_no_worse_slice_and_no_gap(world: ServedWorld) -> None:
    found = report(world)
    assert of(found["slices"], "worse") == []
    assert of(found["groups"], "worse") == []
    slices = {(one["column"], one["value"]): one for one in found["slices"]}
    assert {value for column, value in slices if column == "carrier"} == {"AA", "B6", "UA"}
    assert len([value for column, value in slices if column == "distance"]) == 5  # 4 bins, nulls
    known = [one for one in found["slices"] if one["figure"] is not None]
    assert all(one["low"] < one["figure"] < one["high"] for one in known)
    assert sum(one["n"] for (column, _), one in slices.items() if column == "carrier") == 4900
    assert found["worse"] == []


def test_a_planted_bad_slice_is_caught_and_named(world: ServedWorld) -> None:
    random = np.random.default_rng(1)

    def spoil(features: pa.Table, truth: Any) -> Any:
        bad = np.array(features["carrier"].to_pylist()) == "AA"
        return np.where(bad, random.random(len(truth)) < 0.5, truth)

    found = report(world, spoil)
    assert of([one for one in found["slices"] if one["column"] == "carrier"], "worse") == [
        ("carrier", "AA")
    ]
    [told] = [text for text in found["worse"] if text.startswith("carrier AA")]
    assert "worse than" in told
    # What was missed of AA's late flights shows as a gap, too.
    assert of(found["groups"], "worse") == [("carrier", "(gap)")]
    assert "AA" in next(one["text"] for one in found["groups"] if one["value"] == "(gap)")


def test_a_slice_that_is_bad_on_the_newest_days_is_told(world: ServedWorld) -> None:
    random = np.random.default_rng(2)

    def spoil(features: pa.Table, truth: Any) -> Any:
        bad = np.array(features["carrier"].to_pylist()) == "AA"
        return np.where(bad, random.random(len(truth)) < 0.5, truth)

    for day in range(FIRST, LAST + 1):
        world.serve(day, spoil if day > LAST - 3 else None)
    found = world.night(LAST + 1, FIRST + 1)
    carriers = [one for one in found["slices"] if one["column"] == "carrier"]
    assert of(carriers, "worse") == [("carrier", "AA")]
    [told] = [one for one in carriers if one["value"] == "AA"]
    assert told["recent"]["days"] == 3
    assert told["recent"]["gap"] > told["recent"]["gap_before"] + 0.05
    assert "worse on its newest 3 days" in told["text"]


def test_a_small_group_is_not_enough_data(world: ServedWorld) -> None:
    def few(features: pa.Table, truth: Any) -> Any:
        rare = np.array(features["carrier"].to_pylist()) == "B6"
        labels = truth.astype(object)
        # Of a rare carrier a label or two a day is known, all of them missed.
        labels[np.flatnonzero(rare)[2:]] = None
        return labels

    found = report(world, few)
    [small] = [one for one in found["slices"] if one["value"] == "B6"]
    assert (small["outcome"], small["figure"]) == ("not_enough_labels", None)
    assert small["text"].endswith(f"not enough labels (n={small['labelled']} < 50)")
    assert small["labelled"] == 14
    [group] = [one for one in found["groups"] if one["value"] == "B6"]
    assert (group["outcome"], group["figure"]) == ("not_enough_labels", None)
    assert of(found["groups"], "worse") == []


def test_an_estimate_comes_before_the_labels_and_with_its_error(world: ServedWorld) -> None:
    for day in range(FIRST, LAST + 1):
        world.serve(day)
    first = world.night(FIRST)
    # Of the new version no label is known: its evaluation says what its scores mean.
    assert first["estimate"]["days"] == 0
    assert first["estimate"]["low"] is None
    for day in range(FIRST + 1, LAST + 1):
        last = world.night(day)
    estimate = last["estimate"]
    assert estimate["days"] == LAST - FIRST
    assert estimate["error"] < 0.1
    assert estimate["low"] < estimate["value"] < estimate["high"]
    world.serve(LAST + 1)
    truth = world.night(LAST + 1)["quality"]["value"]
    assert estimate["low"] < truth < estimate["high"]
    assert "cannot see" in estimate["text"]
