"""The tracker port: what is remembered of each training run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Literal, Protocol

RUN_ID_TAG = "ferryman.run_id"
TRIAL_TAG = "ferryman.trial"
FAILED_TAG = "ferryman.failed"  # why a run ended before its time
EPOCH = "epoch/"  # before the name of a figure that is kept for each epoch


@dataclass(frozen=True)
class TrackedRun:
    """A run in the tracking server; `artifacts` is the URI that its files are below."""

    id: str
    artifacts: str


@dataclass(frozen=True)
class RunFacts:
    """What was remembered of one run; `run_id` is Ferryman's name for it, `id` the tracker's."""

    id: str
    run_id: str
    status: str
    started: datetime | None
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class TrackedTrial:
    """A trial of a search that has ended; `status` is in the tracker's words."""

    number: int
    status: Literal["FINISHED", "FAILED", "KILLED"]
    started: datetime
    ended: datetime
    params: Mapping[str, object] = field(default_factory=dict)
    metrics: Mapping[str, float | None] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)


class Tracker(Protocol):
    """Keeps runs. Every method raises DependencyUnavailable (exit 6) when it is down.

    All methods may be repeated with the same arguments: nothing is kept twice.
    """

    def start(
        self, experiment: str, run_id: str, run_key: str, tags: Mapping[str, str]
    ) -> TrackedRun:
        """The tracked run of a Ferryman run, made now if there is none; its tags are brought up.

        A rerun after a failure or a kill finds the run again by run id and run key, and it runs on.
        """
        ...

    def log(
        self,
        run: str,
        *,
        params: Mapping[str, object] | None = None,
        metrics: Mapping[str, float | None] | None = None,
        tags: Mapping[str, str] | None = None,
        history: Sequence[Mapping[str, float | None]] = (),
    ) -> None:
        """Log values in as few batches as there can be; metrics that are None are left out.

        `history` holds the figures of each epoch, the first one's first; they are kept as metrics
        `epoch/<name>` whose step is the epoch, counted from 0.
        """
        ...

    def log_trials(self, run: str, trials: Sequence[TrackedTrial]) -> None:
        """Log trials below the run of their search, each as a run of its own.

        Two processes at once must not log the same trial.
        """
        ...

    def log_datasets(self, run: str, datasets: Mapping[str, str]) -> None:
        """Log which dataset versions a run read: what for ("train") to dataset id."""
        ...

    def log_files(self, run: str, files: Mapping[str, bytes], folder: str = "") -> None:
        """Log small files by name; a name may be a path below the folder."""
        ...

    def log_folder(self, run: str, source: Path, folder: str) -> str:
        """Log every file of a folder, and return the URI of where they are."""
        ...

    def fetch(self, run: str, folder: str, target: Path) -> bool:
        """Copy what was logged in a folder into an existing one; False where nothing was."""
        ...

    def finish(self, run: str) -> None:
        """Mark the run as finished."""
        ...

    def fail(self, run: str, reason: str, *, killed: bool = False) -> None:
        """Mark the run as failed, or as killed, unless it is finished.

        The reason is kept as its tag FAILED_TAG until the run goes on.
        """
        ...

    def read(self, run: str) -> RunFacts | None:
        """What is remembered of a run, or None where it is not there (any more)."""
        ...

    def search(self, experiment: str, tag: str, value: str) -> list[RunFacts]:
        """The runs of an experiment with a tag of this value, oldest first."""
        ...

    def unfinished(self, experiment: str) -> list[RunFacts]:
        """The runs and trials of Ferryman that nobody has ended, oldest first."""
        ...
