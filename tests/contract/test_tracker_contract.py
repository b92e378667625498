"""One suite for every tracker adapter: MLflow on SQLite, and memory."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlparse

import pytest

from ferryman.registry.memory_tracking import MemoryTracker
from ferryman.registry.tracking import Tracker


class Bench(Protocol):
    """A tracker, and what it kept of a run."""

    tracker: Tracker

    def kept(self, run: str) -> Mapping[str, Mapping[str, object]]: ...

    def datasets(self, run: str) -> set[str]: ...

    def epochs(self, run: str, name: str) -> list[tuple[int, float]]: ...

    def finished(self, run: str) -> bool: ...


class MemoryBench:
    def __init__(self, folder: Path) -> None:
        self._memory = MemoryTracker(folder)
        self.tracker: Tracker = self._memory

    def kept(self, run: str) -> Mapping[str, Mapping[str, object]]:
        found = self._memory.runs[run]
        return {"tags": found.tags, "params": found.params, "metrics": found.metrics}

    def datasets(self, run: str) -> set[str]:
        return {f"{key}={value}" for key, value in self._memory.runs[run].datasets.items()}

    def epochs(self, run: str, name: str) -> list[tuple[int, float]]:
        kept = self._memory.runs[run].epochs
        return sorted((epoch, value) for (metric, epoch), value in kept.items() if metric == name)

    def finished(self, run: str) -> bool:
        return self._memory.runs[run].status == "FINISHED"


class MlflowBench:
    def __init__(self, uri: str, folder: Path) -> None:
        from ferryman.registry.mlflow_tracking import MlflowTracker

        self._uri = uri
        self.tracker: Tracker = MlflowTracker(uri, folder, actor="somebody")

    def _run(self, run: str):  # type: ignore[no-untyped-def]
        from ferryman.registry.mlflow_connection import connect

        return connect(self._uri).get_run(run)

    def kept(self, run: str) -> Mapping[str, Mapping[str, object]]:
        data = self._run(run).data
        return {"tags": data.tags, "params": data.params, "metrics": data.metrics}

    def datasets(self, run: str) -> set[str]:
        return {
            f"{entry.tags[0].value}={json.loads(entry.dataset.source)['dataset']}"
            for entry in self._run(run).inputs.dataset_inputs
        }

    def epochs(self, run: str, name: str) -> list[tuple[int, float]]:
        from ferryman.registry.mlflow_connection import connect

        return sorted((m.step, m.value) for m in connect(self._uri).get_metric_history(run, name))

    def finished(self, run: str) -> bool:
        return bool(self._run(run).info.status == "FINISHED")


@pytest.fixture(params=["memory", "mlflow"])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Bench:
    if request.param == "memory":
        return MemoryBench(tmp_path / "artifacts")
    shutil.copytree(request.getfixturevalue("empty_mlflow"), tmp_path / "mlflow")
    uri = f"sqlite:///{tmp_path / 'mlflow' / 'mlflow.db'}"
    return MlflowBench(uri, tmp_path / "artifacts")


def place(uri: str) -> Path:
    return Path(unquote(urlparse(uri).path))


def test_a_run_is_found_again_by_run_id_and_key(bench: Bench) -> None:
    start = bench.tracker.start
    first = start("rain", "it's a run", "k1", {"cutoff": "1"})
    assert start("rain", "it's a run", "k1", {"cutoff": "2"}) == first
    assert bench.kept(first.id)["tags"]["cutoff"] == "2"
    assert bench.kept(first.id)["tags"]["ferryman.run_id"] == "it's a run"
    others = [
        start("rain", "it's a run", "k2", {}).id,
        start("rain", "another", "k1", {}).id,
        start("snow", "it's a run", "k1", {}).id,
    ]
    assert len({first.id, *others}) == 4


def test_values_are_kept_once_and_none_is_left_out(bench: Bench) -> None:
    run = bench.tracker.start("rain", "r", "k", {})
    for _ in range(2):
        bench.tracker.log(
            run.id, params={"depth": 3, "name": "x"}, metrics={"auc": 0.75, "f1": None}
        )
    bench.tracker.log(run.id, tags={"digest": "d"})
    kept = bench.kept(run.id)
    assert kept["params"] == {"depth": "3", "name": "x"}
    assert kept["metrics"] == {"auc": 0.75}
    assert kept["tags"]["digest"] == "d"


def test_figures_of_each_epoch_are_kept_once_at_their_step(bench: Bench) -> None:
    run = bench.tracker.start("rain", "r", "k", {})
    epochs = [{"loss": 1.0 / (epoch + 1), "lost": None, "auc": 0.5} for epoch in range(1100)]
    for _ in range(2):
        bench.tracker.log(run.id, metrics={"loss": 7.0}, history=epochs)
    assert bench.kept(run.id)["metrics"]["loss"] == 7.0
    losses = bench.epochs(run.id, "epoch/loss")
    assert len(losses) == 1100
    assert losses[0] == (0, 1.0)
    assert losses[-1] == (1099, pytest.approx(1 / 1100))
    assert len(bench.epochs(run.id, "epoch/auc")) == 1100
    assert bench.epochs(run.id, "epoch/lost") == []


def test_more_values_than_fit_in_a_batch(bench: Bench) -> None:
    run = bench.tracker.start("rain", "r", "k", {})
    many = {f"n{number}": number for number in range(130)}
    bench.tracker.log(run.id, params=many, tags=dict.fromkeys(many, "t"))
    kept = bench.kept(run.id)
    assert len(kept["params"]) == 130
    assert many.keys() <= kept["tags"].keys()


def test_datasets_are_kept_once_with_their_purpose(bench: Bench) -> None:
    run = bench.tracker.start("rain", "r", "k", {})
    for _ in range(2):
        bench.tracker.log_datasets(run.id, {"train": "a" * 64, "eval": "b" * 64})
    assert bench.datasets(run.id) == {f"train={'a' * 64}", f"eval={'b' * 64}"}


def test_files_and_folders_are_below_the_runs_uri(bench: Bench, tmp_path: Path) -> None:
    run = bench.tracker.start("rain", "r", "k", {})
    bundle = tmp_path / "bundle"
    (bundle / "deep").mkdir(parents=True)
    (bundle / "deep" / "a.txt").write_text("a")
    for _ in range(2):
        bench.tracker.log_files(run.id, {"matrix.json": b"{}"}, "evaluation")
        uri = bench.tracker.log_folder(run.id, bundle, "bundle")
    assert (place(run.artifacts) / "evaluation" / "matrix.json").read_bytes() == b"{}"
    assert uri.startswith(run.artifacts)
    assert (place(uri) / "deep" / "a.txt").read_text() == "a"


def test_what_was_logged_is_fetched(bench: Bench, tmp_path: Path) -> None:
    run = bench.tracker.start("rain", "r", "k", {})
    bench.tracker.log_files(run.id, {"a.py": b"1", "deep/b.sql": b"2"}, "code")
    target = tmp_path / "target"
    target.mkdir()
    assert bench.tracker.fetch(run.id, "code", target)
    assert (target / "a.py").read_bytes() == b"1"
    assert (target / "deep" / "b.sql").read_bytes() == b"2"
    assert not bench.tracker.fetch(run.id, "nothing", target)
    assert not bench.tracker.fetch("0" * 32, "code", target)
    assert (place(run.artifacts) / "code" / "a.py").is_file()  # a copy was made, nothing moved


def test_finish_may_be_repeated(bench: Bench) -> None:
    run = bench.tracker.start("rain", "r", "k", {})
    assert not bench.finished(run.id)
    bench.tracker.finish(run.id)
    bench.tracker.finish(run.id)
    assert bench.finished(run.id)


def test_a_run_is_read_back_and_found_by_a_tag(bench: Bench) -> None:
    tracker = bench.tracker
    first = tracker.start("rain", "r1", "k1", {"data": "d"}).id
    second = tracker.start("rain", "r2", "k2", {"data": "d"}).id
    tracker.start("rain", "r3", "k3", {"data": "e"})
    tracker.start("snow", "r4", "k4", {"data": "d"})
    tracker.finish(first)
    facts = tracker.read(first)
    assert facts is not None
    assert (facts.id, facts.run_id, facts.status) == (first, "r1", "FINISHED")
    assert facts.tags["data"] == "d"
    assert [found.id for found in tracker.search("rain", "data", "d")] == [first, second]
    assert tracker.search("rain", "data", "f") == []
    assert tracker.search("hail", "data", "d") == []
    assert tracker.read("0" * 32) is None


def test_a_run_that_fails_is_told_and_runs_on_when_it_is_tried_again(bench: Bench) -> None:
    tracker = bench.tracker
    runs = {name: tracker.start("rain", name, "k", {}).id for name in ("failed", "killed", "done")}
    other = tracker.start("snow", "elsewhere", "k", {}).id
    assert [facts.id for facts in tracker.unfinished("rain")] == list(runs.values())
    tracker.fail(runs["failed"], "no luck")
    tracker.fail(runs["killed"], "x" * 9000, killed=True)
    tracker.finish(runs["done"])
    told = {name: tracker.read(run) for name, run in runs.items()}
    status = {name: facts.status for name, facts in told.items() if facts}
    assert status == {"failed": "FAILED", "killed": "KILLED", "done": "FINISHED"}
    assert bench.kept(runs["failed"])["tags"]["ferryman.failed"] == "no luck"
    assert tracker.unfinished("rain") == tracker.unfinished("hail") == []
    for name, run in runs.items():
        assert tracker.start("rain", name, "k", {}).id == run
    assert [facts.id for facts in tracker.unfinished("rain")] == [runs["failed"], runs["killed"]]
    assert "ferryman.failed" not in bench.kept(runs["failed"])["tags"]
    tracker.finish(runs["failed"])
    tracker.fail(runs["failed"], "it was done again, and failed")
    assert bench.finished(runs["failed"])
    assert [facts.id for facts in tracker.unfinished("snow")] == [other]
