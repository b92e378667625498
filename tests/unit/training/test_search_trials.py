"""When a search ends, what its best trial is, and how many failed."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ferryman.spec.training import SearchSpec
from ferryman.training.search_trials import (
    Trial,
    TrialState,
    best_trial,
    budget,
    failed_share,
    free_place,
    stop_reason,
)

START = datetime(2024, 1, 1, tzinfo=UTC)


def search(**more: Any) -> SearchSpec:
    space = {"a": {"choices": [1, 2, 3]}}
    return SearchSpec.model_validate({"method": "random", "space": space, "trials": 5, **more})


def trial(number: int, state: TrialState = "complete", value: float | None = 1.0, **more: Any):
    ended = None if state == "running" else START + timedelta(seconds=number + 1)
    facts = {"place": number, "worker": 0, "params": {}, "started": START, "ended": ended, **more}
    return Trial(number=number, state=state, value=value, **facts)


def reason(trials: list[Trial], declared: SearchSpec, minutes: int = 0) -> str:
    return stop_reason(trials, declared, since=START, now=START + timedelta(minutes=minutes))


def test_the_budget_counts_open_trials_and_not_lost_ones():
    four = [trial(0), trial(1, "failed", None), trial(2, "running", None), trial(3, "pruned")]
    assert reason([*four, trial(4, "lost", None)], search(max_failed=0.9)) == ""
    assert reason([*four, trial(4)], search(max_failed=0.9)) == "all 5 trials are drawn"


def test_a_grid_ends_with_its_points():
    assert budget(search(method="grid")) == 3
    assert budget(search(method="grid", trials=2)) == 2


def test_time_ends_it():
    declared = search(time="1h")
    assert reason([], declared, minutes=59) == ""
    assert "is over" in reason([], declared, minutes=60)
    assert stop_reason([], declared, since=None, now=START) == ""


def test_it_ends_when_so_many_trials_brought_no_gain():
    declared = search(trials=50, patience=3, least_gain=0.1)
    falling = [trial(place, value=1 - 0.2 * place) for place in range(5)]
    assert reason(falling, declared) == ""
    flat = [*falling, trial(5, value=0.15), trial(6, "pruned", 0.0), trial(7, value=0.11)]
    assert reason(flat, declared) == "3 trials in a row brought no gain"
    assert reason([*flat, trial(8, value=0.05)], declared) == ""  # 0.15 below the best: a gain


def test_a_gain_is_upwards_where_higher_is_better():
    declared = search(trials=50, patience=2, metric="roc_auc")
    assert reason([trial(place, value=0.5 + place / 10) for place in range(4)], declared) == ""
    assert reason([trial(place, value=0.9 - place / 10) for place in range(4)], declared) != ""


def test_it_ends_when_too_many_failed_to_be_made_good():
    failed = [trial(place, "failed", None) for place in range(2)]
    assert "too many" in reason(failed, search(max_failed=0.2))
    assert reason(failed[:1], search(max_failed=0.2)) == ""


def test_the_best_is_the_earliest_of_equals_among_the_complete():
    trials = [
        trial(2, value=0.3),
        trial(1, value=0.3),
        trial(0, "pruned", 0.1),
        trial(3, value=0.4),
    ]
    lowest, highest = best_trial(trials, "log_loss"), best_trial(trials, "roc_auc")
    assert (lowest.number, highest.number) == (1, 3)  # type: ignore[union-attr]
    assert best_trial([trial(0, "failed", None)], "log_loss") is None


def test_a_lost_trials_place_is_free_again():
    assert free_place([]) == 0
    assert free_place([trial(0), trial(1, "lost", None), trial(2, "running", None)]) == 1


def test_missing_trials_count_as_failed_in_a_search_that_never_ended():
    trials = [trial(0), trial(1), trial(2), trial(3, "lost", None)]
    assert failed_share(trials, search(), ended=True) == pytest.approx(1 / 4)
    assert failed_share(trials, search(), ended=False) == pytest.approx(3 / 6)
    assert failed_share([], search(), ended=True) == 1.0
