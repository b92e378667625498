"""The command lines of the serving program: what a front is told of its server."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ferryman.settings import Settings
    from ferryman.spec.servers import ServerSpec

MODULE = "ferryman.serving"
# In a server's root: who its front is, and the lock that only one of them holds.
FRONT_STATE = "process.json"
FRONT_LOCK = "front.lock"


def front_arguments(settings: "Settings", name: str, server: "ServerSpec") -> list[str]:
    """What `python -m ferryman.serving front` is told of a declared server of this machine."""
    from ferryman.runtime.endpoints import endpoint_of  # here: a front carries no settings

    endpoint = endpoint_of(settings, name, server)
    places: dict[str, object] = {
        "--root": endpoint.root,
        "--bundles": settings.bundles_root,
        "--predictions": settings.predictions_root,
        "--host": endpoint.host,
        "--port": endpoint.port,
        "--admin-port": endpoint.admin_port,
        "--replicas": server.replicas,
        "--threads": server.resources.threads,
        "--memory": server.resources.memory_bytes,
    }
    if settings.signing_public_key is not None:
        places["--public-key"] = settings.signing_public_key
    flags = ["--upload"] if settings.predictions_connection else []
    return [str(part) for pair in places.items() for part in pair] + flags


def front_command(
    settings: "Settings", name: str, server: "ServerSpec", extra: Sequence[str] = ()
) -> list[str]:
    """The whole command line of a server's front.

    `extra` may hold --no-children (replicas join by themselves) and --watched (whoever starts the
    front starts it again when it ends).
    """
    arguments = front_arguments(settings, name, server)
    return [sys.executable, "-m", MODULE, "front", *arguments, *extra]


def replica_arguments(
    root: Path, predictions: Path, channel: Path, name: str, threads: int
) -> list[str]:
    """What `python -m ferryman.serving replica` is told; the paths are those that it sees.

    `root` is read only, `predictions` and the folder of `channel` are written.
    """
    return [
        *("--root", str(root)),
        *("--predictions", str(predictions)),
        *("--channel", str(channel)),
        *("--name", name),
        *("--threads", str(threads)),
    ]
