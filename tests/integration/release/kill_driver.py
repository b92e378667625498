"""Takes rollbacks, adoptions and verdicts that are killed at named points, then again; called in a
new process. See `crash_driver`, which does the same for releases.
"""

import importlib
import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

from crash_driver import WARM, run_killed
from rollback_world import World

from ferryman.settings import Settings
from ferryman.steps import adopt, roll_back, verdict

LOADED = (adopt, roll_back, verdict)


def _step(task: dict[str, Any]) -> None:
    world = World(Settings(**task["settings"]), None)
    world.run(task["step"], run_id="killed", **task["params"])


def main() -> None:
    """Read tasks, write the exit codes of each one's runs."""
    for name in WARM:
        importlib.import_module(name)
    tasks = json.loads(Path(sys.argv[1]).read_text())
    codes = [run_killed(task, partial(_step, task)) for task in tasks]
    Path(sys.argv[2]).write_text(json.dumps(codes))


if __name__ == "__main__":
    main()
