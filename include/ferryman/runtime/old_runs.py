"""Folders whose time is over: of runs, and of writers that were killed."""

import os
import shutil
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from ferryman.runtime.files import SCRATCH
from ferryman.runtime.run_store import RESULT

_GOING = ".removing-"
_DRILLS = ".drills"  # below the bundles, since a server takes them from there alone


def old_runs(runs_root: Path, model: str, before: datetime) -> list[Path]:
    """The runs in which nothing was written since; never the newest finished one of a pipeline.

    What a killed removal left is among them.
    """
    root = runs_root / model
    pipelines = [folder for folder in root.iterdir() if folder.is_dir()] if root.is_dir() else []
    found: list[Path] = []
    for pipeline in sorted(pipelines):
        runs = {run: _last_write(run) for run in pipeline.iterdir() if run.is_dir()}
        finished = {run for run in runs if any(run.glob(f"*/{RESULT}"))}
        newest = max(finished, key=lambda run: runs[run], default=None)
        found += sorted(
            run
            for run, written in runs.items()
            if run.name.startswith(_GOING) or (written < before and run != newest)
        )
    return found


def old_backfills(root: Path, model: str, before: datetime) -> list[Path]:
    """What backfills wrote of a model (<root>/<run>/<model>), where nothing was written since.

    What a killed removal left is among them.
    """
    left = root.glob(f"*/{_GOING}{model}")
    found = (path for path in root.glob(f"*/{model}") if _last_write(path) < before)
    return sorted([*left, *found])


def remove_run(run: Path) -> None:
    """Hide a run's folder in one step, then remove it; killed in between, it stays hidden."""
    hidden = run if run.name.startswith(_GOING) else run.with_name(_GOING + run.name)
    if hidden != run:
        run.rename(hidden)
    shutil.rmtree(hidden)


def old_scratch(before: datetime) -> list[Path]:
    """Our own folders for temporary files in which nothing was written since."""
    folders = Path(tempfile.gettempdir()).glob(f"{SCRATCH}*")
    ours = (path for path in folders if path.is_dir() and path.lstat().st_uid == os.getuid())
    return sorted(path for path in ours if _last_write(path) < before)


def drill_folder(bundles_root: Path, model: str, name: str) -> Path:
    """Where a drill of a model keeps its bad bundle until it is over."""
    return bundles_root / _DRILLS / model / name


def old_drills(bundles_root: Path, model: str, before: datetime) -> list[Path]:
    """The bad bundles that killed drills left, in which nothing was written since."""
    folders = drill_folder(bundles_root, model, "").glob("*")
    return sorted(path for path in folders if path.is_dir() and _last_write(path) < before)


def is_idle(run: Path, before: datetime) -> bool:
    """Whether nothing was written in a run's folder since, or there is none."""
    return not run.is_dir() or _last_write(run) < before


def _last_write(run: Path) -> datetime:
    times = [path.lstat().st_mtime for path in (run, *run.rglob("*"))]
    return datetime.fromtimestamp(max(times), UTC)
