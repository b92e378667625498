"""Trials below the run of their search: one suite for every tracker adapter."""

import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ferryman.registry.memory_tracking import MemoryTracker
from ferryman.registry.tracking import TrackedTrial, Tracker

START = datetime(2024, 1, 1, tzinfo=UTC)
Kept = dict[int, tuple[str, dict[str, str], dict[str, float]]]


def memory_trials(tracker: MemoryTracker, run: str) -> Kept:
    return {
        number: (
            trial.status,
            {name: str(value) for name, value in trial.params.items()},
            {name: value for name, value in trial.metrics.items() if value is not None},
        )
        for number, trial in tracker.runs[run].trials.items()
    }


def mlflow_trials(uri: str, run: str) -> Kept:
    from ferryman.registry.mlflow_connection import connect

    client = connect(uri)
    children = client.search_runs(
        [client.get_run(run).info.experiment_id],
        filter_string=f"tags.`mlflow.parentRunId` = '{run}'",
    )
    kept = {
        int(child.data.tags["ferryman.trial"]): (
            child.info.status, child.data.params, child.data.metrics
        )
        for child in children
    }  # fmt: skip
    assert len(kept) == len(children)
    return kept


@pytest.fixture(params=["memory", "mlflow"])
def bench(
    request: pytest.FixtureRequest, tmp_path: Path
) -> tuple[Callable[[], Tracker], Callable[[str], Kept]]:
    """What opens the tracker anew, as another process does, and what reads the trials."""
    if request.param == "memory":
        memory = MemoryTracker(tmp_path / "artifacts")
        return lambda: memory, lambda run: memory_trials(memory, run)
    from ferryman.registry.mlflow_tracking import MlflowTracker

    shutil.copytree(request.getfixturevalue("empty_mlflow"), tmp_path / "mlflow")
    uri = f"sqlite:///{tmp_path / 'mlflow' / 'mlflow.db'}"
    return (
        lambda: MlflowTracker(uri, tmp_path / "artifacts"),
        lambda run: mlflow_trials(uri, run),
    )


def trial(number: int, value: float | None = 0.5) -> TrackedTrial:
    return TrackedTrial(
        number=number,
        status="FINISHED" if value is not None else "FAILED",
        started=START,
        ended=START + timedelta(seconds=2),
        params={"depth": number, "kind": "x"},
        metrics={"log_loss": value, "seconds": 2.0},
        tags={"ferryman.trial_state": "complete"},
    )


def test_trials_are_kept_once_whoever_repeats_them(bench) -> None:
    open_tracker, kept = bench
    parent = open_tracker().start("rain", "r/search", "k", {}).id
    open_tracker().log_trials(parent, [trial(0), trial(1, None)])
    again = open_tracker()
    again.log_trials(parent, [trial(0), trial(1, None), trial(2)])
    again.log_trials(parent, [trial(2)])
    again.log_trials(parent, [])
    assert kept(parent) == {
        0: ("FINISHED", {"depth": "0", "kind": "x"}, {"log_loss": 0.5, "seconds": 2.0}),
        1: ("FAILED", {"depth": "1", "kind": "x"}, {"seconds": 2.0}),
        2: ("FINISHED", {"depth": "2", "kind": "x"}, {"log_loss": 0.5, "seconds": 2.0}),
    }


def test_two_searches_keep_their_trials_apart(bench) -> None:
    open_tracker, kept = bench
    tracker = open_tracker()
    parents = [tracker.start("rain", run, "k", {}).id for run in ("r1/search", "r2/search")]
    for parent, value in zip(parents, (0.1, 0.2), strict=True):
        tracker.log_trials(parent, [trial(0, value)])
    assert [kept(parent)[0][2]["log_loss"] for parent in parents] == [0.1, 0.2]


def test_a_trial_whose_logging_was_killed_is_finished_by_the_next(
    empty_mlflow: Path, tmp_path: Path
) -> None:
    from ferryman.registry.mlflow_connection import connect
    from ferryman.registry.mlflow_tracking import MlflowTracker

    shutil.copytree(empty_mlflow, tmp_path / "mlflow")
    uri = f"sqlite:///{tmp_path / 'mlflow' / 'mlflow.db'}"
    tracker = MlflowTracker(uri, tmp_path / "artifacts")
    parent = tracker.start("rain", "r/search", "k", {}).id
    client = connect(uri)
    experiment = client.get_run(parent).info.experiment_id
    # As after a kill between the making of the run and its first figure.
    client.create_run(experiment, tags={"mlflow.parentRunId": parent, "ferryman.trial": "0"})
    MlflowTracker(uri, tmp_path / "artifacts").log_trials(parent, [trial(0)])
    assert mlflow_trials(uri, parent)[0][::2] == (
        "FINISHED", {"log_loss": 0.5, "seconds": 2.0}
    )  # fmt: skip
