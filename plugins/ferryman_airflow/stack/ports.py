"""Whether a port is free, and who holds it where it is not."""

import contextlib
import os
import socket
from pathlib import Path

from ferryman.errors import DependencyUnavailable
from ferryman.runtime.ports import holder_of
from ferryman_airflow.stack.settings import HOST


def require_free(port: int, use: str, variable: str) -> None:
    """DependencyUnavailable (exit 6) with the port's holder, unless this machine can bind it."""
    with contextlib.closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise DependencyUnavailable(
                f"port {port}, wanted for {use}, cannot be used: {error.strerror}{holder_of(port)}",
                remedy=f"End that process, or choose another port: {variable}=PORT make run.",
            ) from error


def require_space(folder: Path, at_least: int = 1_000_000_000) -> None:
    """DependencyUnavailable (exit 6) when fewer bytes are free where the state is kept."""
    while not folder.exists():
        folder = folder.parent
    status = os.statvfs(folder)
    free = status.f_bavail * status.f_frsize
    if free < at_least:
        raise DependencyUnavailable(
            f"only {free / 1e9:.2f} GB are free in {folder}, {at_least / 1e9:.0f} GB are needed",
            remedy="Free some space, or set FERRYMAN_HOME and FERRYMAN_AIRFLOW_HOME elsewhere.",
        )
