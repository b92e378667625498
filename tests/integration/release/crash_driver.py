"""Runs releases that are killed at named points, then runs them again; called in a new process.

It imports once and forks for each run, as Airflow's fork server does. A point is MODULE:NAME:WHEN:N
(the process ends before or after the N-th call of that function). A release that is killed at
several points is killed at one after the other.
"""

import importlib
import json
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

# A program of its own: pytest is not here to say where the tests' modules are.
sys.path.insert(0, str(Path(__file__).parents[2]))

from release_world import Release, Users

from ferryman.errors import FerrymanError
from ferryman.settings import Settings
from ferryman.steps import commit, expose, gate, reconcile, stage

KILLED = 99
LOADED = (gate, stage, expose, commit, reconcile)
# What the steps import on first use; every forked run would pay for it anew.
WARM = (
    "pandas",
    "pyarrow.parquet",
    "onnxruntime",
    "sklearn.metrics",
    "scipy.stats",
    "mlflow.store.tracking.sqlalchemy_store",
    "mlflow.store.model_registry.sqlalchemy_store",
    "mlflow.store.db.utils",
    "alembic.command",
    "ferryman.rollout.traffic_evidence",
    "ferryman.steps.guard",
    "ferryman.steps.labelled_answers",
)


def arm(point: str) -> None:
    """Let this process end at a point, with no clean-up at all."""
    module, name, when, wanted = point.split(":")
    owner: Any = importlib.import_module(module)
    *path, last = name.split(".")
    for part in path:
        owner = getattr(owner, part)
    original: Callable[..., Any] = getattr(owner, last)
    calls = 0

    def lethal(*given: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == int(wanted) and when == "before":
            os._exit(KILLED)
        result = original(*given, **named)
        if calls == int(wanted):
            os._exit(KILLED)
        return result

    setattr(owner, last, lethal)


def run_in_child(work: Callable[[], None], point: str | None) -> int:
    """Do the work in a forked child, which ends at the point; its exit code."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            if point:
                arm(point)
            work()
            code = 0
        except FerrymanError as error:
            code = int(error.exit_code)
            sys.stderr.write(f"{point}: {error}\n")
        finally:
            sys.stderr.flush()
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def run_killed(task: dict[str, Any], work: Callable[[], None]) -> list[int]:
    """Do the work of a task killed at each of its points, and once to its end: the exit codes."""
    return [run_in_child(work, point) for point in [*task["points"], None]]


def _release(task: dict[str, Any]) -> None:
    """The whole release, with users who ask."""
    settings = Settings(**task["settings"])
    with Users(settings, task["rows"], pause=0.002):
        Release(settings, "crashing", task["candidate"]).run_all()


def main() -> None:
    """Read tasks, write {name: [exit code of each killed run, of the last one]}."""
    for name in WARM:
        importlib.import_module(name)
    tasks = json.loads(Path(sys.argv[1]).read_text())
    codes = {task["name"]: run_killed(task, partial(_release, task)) for task in tasks}
    Path(sys.argv[2]).write_text(json.dumps(codes))


if __name__ == "__main__":
    main()
