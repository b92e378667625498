"""Trials are logged in batches, and none is forgotten."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from ferryman.registry.memory_tracking import MemoryTracker
from ferryman.steps.trial_log import TrialLog, tracked_trials
from ferryman.training.search_trials import Trial, TrialState

START = datetime(2024, 1, 1, tzinfo=UTC)


def trial(number: int, state: TrialState = "complete") -> Trial:
    ended = None if state == "running" else START + timedelta(seconds=3)
    return Trial(number, number, 1, state, {"depth": 2}, 0.5, START, ended, error="")


def test_twenty_trials_are_one_batch_and_the_rest_comes_last(tmp_path: Path):
    tracker = MemoryTracker(tmp_path)
    parent = tracker.start("rain", "r/search", "k", {}).id
    log = TrialLog(tracker, parent, "log_loss")
    for number in range(19):
        log.add(trial(number))
    assert tracker.runs[parent].trials == {}
    log.add(trial(19))
    log.add(trial(20))
    assert len(tracker.runs[parent].trials) == 20
    log.flush()
    assert tracker.runs[parent].trials[20].metrics == {"log_loss": 0.5, "seconds": 3.0}


def test_each_end_has_a_status_and_a_running_trial_none():
    states: tuple[TrialState, ...] = ("complete", "pruned", "failed", "lost", "running")
    told = tracked_trials([trial(place, state) for place, state in enumerate(states)], "auc")
    assert [one.status for one in told] == ["FINISHED", "FINISHED", "FAILED", "KILLED"]
    assert [one.tags["ferryman.trial_state"] for one in told] == list(states[:4])
