"""A tracker in memory, for tests and for simulations that leave nothing behind."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ferryman.registry.tracking import (
    EPOCH,
    FAILED_TAG,
    RUN_ID_TAG,
    RunFacts,
    TrackedRun,
    TrackedTrial,
)


@dataclass
class MemoryRun:
    """What is kept of one run."""

    run: TrackedRun
    tags: dict[str, str] = field(default_factory=dict)
    params: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    epochs: dict[tuple[str, int], float] = field(default_factory=dict)
    datasets: dict[str, str] = field(default_factory=dict)
    status: str = "RUNNING"
    trials: dict[int, TrackedTrial] = field(default_factory=dict)


class MemoryTracker:
    """The tracker port on dictionaries; files go to a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.runs: dict[str, MemoryRun] = {}

    def start(
        self, experiment: str, run_id: str, run_key: str, tags: Mapping[str, str]
    ) -> TrackedRun:
        """The tracked run of a Ferryman run, made now if there is none."""
        key = f"{experiment}-{run_id}-{run_key}"
        if key not in self.runs:
            uri = (self._folder / str(len(self.runs))).as_uri()
            self.runs[key] = MemoryRun(TrackedRun(key, uri))
        if self.runs[key].status != "FINISHED":
            self.runs[key].status = "RUNNING"
            self.runs[key].tags.pop(FAILED_TAG, None)
        self.runs[key].tags.update(tags)
        self.runs[key].tags[RUN_ID_TAG] = run_id
        return self.runs[key].run

    def log(
        self,
        run: str,
        *,
        params: Mapping[str, object] | None = None,
        metrics: Mapping[str, float | None] | None = None,
        tags: Mapping[str, str] | None = None,
        history: Sequence[Mapping[str, float | None]] = (),
    ) -> None:
        """Log values, and the figures of each epoch."""
        kept = self.runs[run]
        kept.params.update({key: str(value) for key, value in (params or {}).items()})
        numbers = {key: value for key, value in (metrics or {}).items() if value is not None}
        kept.metrics.update(numbers)
        kept.tags.update(tags or {})
        for epoch, figures in enumerate(history):
            for name, value in figures.items():
                if value is not None:
                    kept.epochs[f"{EPOCH}{name}", epoch] = value

    def log_trials(self, run: str, trials: Sequence[TrackedTrial]) -> None:
        """Log trials below the run of their search."""
        for trial in trials:
            self.runs[run].trials.setdefault(trial.number, trial)

    def log_datasets(self, run: str, datasets: Mapping[str, str]) -> None:
        """Log which dataset versions a run read."""
        self.runs[run].datasets.update(datasets)

    def log_files(self, run: str, files: Mapping[str, bytes], folder: str = "") -> None:
        """Log small files by name."""
        for name, content in files.items():
            target = self._place(run) / folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)

    def log_folder(self, run: str, source: Path, folder: str) -> str:
        """Log every file of a folder."""
        target = self._place(run) / folder
        shutil.copytree(source, target, dirs_exist_ok=True)
        return target.as_uri()

    def fetch(self, run: str, folder: str, target: Path) -> bool:
        """Copy a logged folder into an existing one."""
        source = self._place(run) / folder if run in self.runs else None
        if source is None or not source.is_dir():
            return False
        shutil.copytree(source, target, dirs_exist_ok=True)
        return True

    def finish(self, run: str) -> None:
        """Mark the run as finished."""
        self.runs[run].status = "FINISHED"

    def fail(self, run: str, reason: str, *, killed: bool = False) -> None:
        """Mark the run as failed, or as killed, and why; not one that is finished."""
        if self.runs[run].status == "FINISHED":
            return
        self.runs[run].status = "KILLED" if killed else "FAILED"
        self.runs[run].tags[FAILED_TAG] = reason

    def read(self, run: str) -> RunFacts | None:
        """What is remembered of a run, or None."""
        kept = self.runs.get(run)
        if kept is None:
            return None
        return RunFacts(run, kept.tags[RUN_ID_TAG], kept.status, None, dict(kept.tags))

    def search(self, experiment: str, tag: str, value: str) -> list[RunFacts]:
        """The runs of an experiment with a tag of this value, oldest first."""
        return [facts for facts in self._all(experiment) if facts.tags.get(tag) == value]

    def unfinished(self, experiment: str) -> list[RunFacts]:
        """The runs that nobody has ended, oldest first."""
        return [facts for facts in self._all(experiment) if facts.status == "RUNNING"]

    def _all(self, experiment: str) -> list[RunFacts]:
        found = (self.read(run) for run in self.runs if run.startswith(f"{experiment}-"))
        return [facts for facts in found if facts is not None]

    def _place(self, run: str) -> Path:
        return self._folder / self.runs[run].run.artifacts.rpartition("/")[2]
