"""Takes rollbacks and adoptions that are killed at named points, then again; called in a new
process. See `crash_driver`, which does the same for releases.
"""

import importlib
import json
import os
import sys
from pathlib import Path
from typing import Any

from crash_driver import WARM, arm
from rollback_world import World

from ferryman.errors import FerrymanError
from ferryman.settings import Settings
from ferryman.steps import adopt, roll_back

LOADED = (adopt, roll_back)


def run_in_child(task: dict[str, Any], point: str | None) -> int:
    """Run the step in a forked child; its exit code."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            if point:
                arm(point)
            World(Settings(**task["settings"]), None).run(
                task["step"], run_id="killed", **task["params"]
            )
            code = 0
        except FerrymanError as error:
            code = int(error.exit_code)
            sys.stderr.write(f"{point}: {error}\n")
        finally:
            sys.stderr.flush()
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main() -> None:
    """Read tasks, write the exit codes of each one's runs."""
    for name in WARM:
        importlib.import_module(name)
    tasks = json.loads(Path(sys.argv[1]).read_text())
    codes = [[run_in_child(task, point) for point in [*task["points"], None]] for task in tasks]
    Path(sys.argv[2]).write_text(json.dumps(codes))


if __name__ == "__main__":
    main()
