"""Ends the runs of the tracking server that nobody goes on with: what maintenance does of them."""

from datetime import datetime
from pathlib import Path

from ferryman.registry.mlflow_tracking import MlflowTracker
from ferryman.runtime.files import read_json
from ferryman.runtime.old_runs import is_idle
from ferryman.runtime.run_store import ERROR
from ferryman.steps.contract import StepContext


def end_unfinished(context: StepContext, before: datetime) -> int:
    """Mark as failed, or killed, what a model's trainings left unfinished; how many there were.

    That is: begun before a moment, and nothing was written in its run's folder since. One that is
    tried again after all runs on. DependencyUnavailable (exit 6) where nobody can be asked.
    """
    settings = context.settings
    tracker = MlflowTracker(settings.mlflow_uri, settings.mlflow_artifacts, actor=settings.actor)
    ended = 0
    for facts in tracker.unfinished(context.model.name):
        folder = Path(facts.tags.get("ferryman.run_uri", ""))
        of_run = bool(folder.name)  # a trial has none: it is one of its search's run
        if (facts.started or before) >= before or (of_run and not is_idle(folder, before)):
            continue
        reason = _failure(folder) if of_run else ""
        told = reason or f"killed: nothing was written since {before:%Y-%m-%d %H:%M} UTC"
        tracker.fail(facts.id, told, killed=not reason)
        ended += 1
    return ended


def _failure(run: Path) -> str:
    """The last error that a step of a run left, if any; a step that succeeds takes it away."""
    files = sorted(run.glob(f"*/{ERROR}"), key=lambda file: file.stat().st_mtime)
    return f"{files[-1].parent.name}: {read_json(files[-1])['text']}" if files else ""
