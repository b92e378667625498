"""Runs fire drills of `tiny`, and reads what they found."""

import json
from typing import Any

from release_world import declare
from rollout_world import World

from ferryman.runtime.connections import Connection, GivenConnections
from ferryman.runtime.messages import StepRequest, StepResult
from ferryman.runtime.run_store import run_folder
from ferryman.steps.contract import run_step


def run_drill(world: World, channel: str | None, run_id: str = "d", **params: Any) -> StepResult:
    """Run the step; `channel` is the address of the connection `alerts`, where there is one."""
    model = declare(world.settings.zoo)
    given = [] if channel is None else [Connection("alerts", channel)]
    folder = run_folder(world.settings.runs_root, "tiny", "drill", run_id)
    request = StepRequest(
        model="tiny",
        step="drill",
        run_id=run_id,
        run_uri=str(folder),
        params=params,
        spec_digest=model.digest,
    )
    return run_step(request, model, world.settings, GivenConnections(*given))


def report(world: World, run_id: str = "d") -> dict[str, Any]:
    """What a drill found, by line."""
    folder = run_folder(world.settings.runs_root, "tiny", "drill", run_id)
    told: dict[str, Any] = json.loads((folder / "drill" / "report.json").read_text())
    return {line["name"]: line for line in told["lines"]} | {"all": told}
