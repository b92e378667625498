"""What is told of a server's containers: who answers, who ended, and who was out of memory."""

from collections.abc import Mapping, Sequence
from typing import Any

from ferryman.deployment.container.config import REPLICA_LABEL
from ferryman.deployment.container.engine import ContainerEngine, Held
from ferryman.deployment.deployer import DeploymentState, Replica

_KILLED = 137
_MEBIBYTE = 2**20


def report(
    engine: ContainerEngine, held: Sequence[Held], joined: Mapping[str, Mapping[str, Any]]
) -> tuple[Replica, ...]:
    """Each container with what its front says of it; `joined` is the front's entries by name."""
    return tuple(_replica(engine, one, joined.get(name_of(one))) for one in held)


def name_of(held: Held) -> str:
    """The name that a container's replica joined under."""
    return held.labels.get(REPLICA_LABEL, held.name)


def why_ended(engine: ContainerEngine, held: Held) -> str:
    """Why a container ended, or ended before it was started again; "" when it never did."""
    if held.state == "paused":
        return "paused"
    if held.is_alive and not held.restarts:
        return ""
    ends = engine.ends(held.id)
    again = f"; started again {_times(held.restarts)}" if held.restarts else ""
    if ends.ooms or held.out_of_memory:
        limit = held.memory // _MEBIBYTE
        often = f" {_times(ends.ooms)}" if ends.ooms > 1 else ""
        return f"ended at its memory limit of {limit} MiB{often}{again}"
    said = held.error or engine.last_words(held.id)
    code = held.exit_code if ends.exit_code is None else ends.exit_code
    how = "killed" if code == _KILLED else f"exit {code}"
    return f"{how}{again}" + (f": {said}" if said else "")


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _replica(engine: ContainerEngine, held: Held, entry: Mapping[str, Any] | None) -> Replica:
    told = [] if entry is None else [f"cannot load {name}" for name in entry.get("missing") or []]
    ended = why_ended(engine, held)
    return Replica(
        name=name_of(held),
        state=_state(held, entry),
        detail="; ".join([*told, ended] if ended else told),
    )


def _state(held: Held, entry: Mapping[str, Any] | None) -> DeploymentState:
    if held.state == "paused":
        return "silent"
    if not held.is_alive:
        return "stopped"
    if entry is None:
        return "not_ready"
    states: dict[str, DeploymentState] = {"ready": "ready", "hangs": "silent"}
    return states.get(entry["state"], "not_ready")
