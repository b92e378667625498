"""A slice that is bad on a few days is told by its gap to the other rows of these days."""

from collections.abc import Iterable

import numpy as np
import pytest

from ferryman.monitoring.groups import Figure, SliceLook, SliceRule, judge_slices
from ferryman.monitoring.recent_slices import DayLosses, DayRule, Recent, recent_worsening

SLICES, ROWS = 12, 60  # rows of a slice and day
RULE = DayRule(lambda _: 0.05, least=50)
JUDGED = SliceRule("log_loss", lower_is_better=True, tolerance=0.05, significance=0.01, least=50)


def life(
    seed: int, days: int, stormy: float = 0.2, own: float = 0.08
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Slice, day and loss of rows; days differ for all of them, and a little for each slice."""
    random = np.random.default_rng(seed)
    code, day = np.tile(np.repeat(np.arange(SLICES), ROWS), days), np.arange(days)
    day = np.repeat(day, SLICES * ROWS)
    shared, apart = random.normal(0, stormy, days), random.normal(0, own, (SLICES, days))
    losses = random.gamma(1.5, 0.4, len(code)) + shared[day] + apart[code, day]
    return code, day, losses


def looked(
    world: tuple[np.ndarray, np.ndarray, np.ndarray], end: int, plant: Iterable[int] = (), by=0.6
) -> list[Recent]:
    """The night that ends the seven days before `end`; slice 3 is bad on planted days."""
    code, day, losses = world
    losses = losses + by * ((code == 3) & np.isin(day, list(plant)))
    sides = [(day < 7), (day >= end - 7) & (day < end)]
    before, now = (DayLosses(losses[side], day[side]) for side in sides)
    masks = [tuple(code[side] == place for side in sides) for place in range(SLICES)]
    return recent_worsening(before, now, masks, RULE)


def worse(found: list[Recent], now: float = 0.6) -> list[str]:
    looks = [
        SliceLook("c", str(place), 420, 420, Figure(now, 0.2, 6), Figure(0.6, 0.2, 6), one)
        for place, one in enumerate(found)
    ]
    return [one.value for one in judge_slices(looks, JUDGED) if one.outcome == "worse"]


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("bad", [(17, 18, 19), (13, 15, 17), range(13, 20)])
def test_three_bad_days_of_seven_are_told(seed: int, bad: Iterable[int]) -> None:
    assert worse(looked(life(seed, 20), 20, bad, by=0.9)) == ["3"]


def test_a_storm_over_all_rows_is_no_slices_fault() -> None:
    code, day, losses = life(6, 20, own=0.01)
    stormy = losses + 0.8 * (day >= 17)
    found = looked((code, day, stormy), 20)
    assert worse(found) == []
    # What all rows share is told by the figure of all rows, however bad each slice looks.
    assert all(one.shared for one in found)
    sure = [Figure(0.9, 0.01, 400), Figure(0.6, 0.01, 400)]
    told = judge_slices([SliceLook("c", "0", 420, 420, *sure, found[0])], JUDGED)[0]
    assert told.outcome == "ok"
    assert "the other rows are as much worse" in told.text


def test_a_slice_that_others_left_behind_is_no_worse() -> None:
    code, day, losses = life(7, 20)
    better = losses - 0.9 * ((code != 3) & (day >= 17))
    assert worse(looked((code, day, better), 20)) == []


def test_it_is_said_in_days() -> None:
    found = looked(life(1, 20), 20, (17, 18, 19), by=0.9)
    look = SliceLook("c", "3", 420, 420, Figure(0.6, 0.2, 6), Figure(0.6, 0.2, 6), found[3])
    told = judge_slices([look], JUDGED)[0]
    assert "worse on its newest 3 days" in told.text
    assert told.recent is not None
    assert told.recent.gap - told.recent.gap_before == pytest.approx(0.9, abs=0.3)
    assert told.as_json()["recent"]["days"] == 3


def test_few_days_and_few_rows_say_nothing() -> None:
    code, day, losses = life(8, 20)
    now = DayLosses(losses[day >= 17], day[day >= 17])
    mask = np.zeros(0, dtype=bool), code[day >= 17] == 3
    assert recent_worsening(None, now, [mask], RULE) == [Recent()]
    nothing = DayLosses(np.zeros(0), np.zeros(0, dtype=np.int64))
    empty = np.zeros(0, dtype=bool)
    assert recent_worsening(nothing, nothing, [(empty, empty)], RULE) == [Recent()]
    # A slice that is all rows has no others; one with a handful of rows has no day.
    week = DayLosses(losses[day < 7], day[day < 7])
    all_of_them = np.ones(len(week.values), dtype=bool)
    few = all_of_them & (np.arange(len(all_of_them)) % 400 == 0)
    found = recent_worsening(week, week, [(all_of_them, all_of_them), (few, few)], RULE)
    assert [one.found for one in found] == [(), ()]


def test_rows_without_a_loss_do_not_count() -> None:
    code, day, losses = life(9, 20)
    holes = np.where(np.arange(len(losses)) % 7 == 0, np.nan, losses)
    found = looked((code, day, holes), 20, (17, 18, 19), by=0.9)
    assert worse(found) == ["3"]


def test_a_tolerance_is_in_the_metrics_unit() -> None:
    labels = np.array([0.0, 4.0])
    root = DayRule.of("rmse", "rmse", 0.5, 50, labels)
    assert root.tolerance(4.0) == pytest.approx(2.5**2 - 4)
    assert root.unit == "squared error"
    assert DayRule.of("rmse", "r2", 0.1, 50, labels).tolerance(9.0) == pytest.approx(0.4)
    ranked = DayRule.of("log_loss", "roc_auc", 0.05, 50, labels)
    assert (ranked.tolerance(0.7), ranked.comparable) == (0.05, False)


@pytest.mark.parametrize("end", [7, 8, 9])
def test_a_window_without_labels_or_with_few_days_says_nothing(end: int) -> None:
    code, day, losses = life(1, 9)
    early, late = day < 7, (day >= 7) & (day < end)
    sides = [DayLosses(losses[side], day[side]) for side in (early, late)]
    masks = [(code[early] == place, code[late] == place) for place in range(SLICES)]
    assert worse(recent_worsening(*sides, masks, RULE)) == []
    assert recent_worsening(None, sides[1], masks, RULE) == [Recent()] * SLICES
