"""What a replica's container may do and see: as little as it takes to answer."""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ferryman.spec.servers import ResourcesSpec

IMAGE_USER = 10001
SERVER_LABEL = "io.ferryman.server"
HOME_LABEL = "io.ferryman.home"
REPLICA_LABEL = "io.ferryman.replica"
CONFIG_LABEL = "io.ferryman.config"

_TMP_BYTES = 64 * 2**20
_LOG_SIZE = "10m"
_LOG_FILES = "3"
# The loop, the log, the scoring threads; a fork bomb ends here.
_OWN_THREADS = 64
_THREADS_PER_CORE = 8
# A replica that cannot start is not started for ever; `start` and `scale` look after it again.
_RESTARTS = 10


@dataclass(frozen=True)
class Mount:
    """A folder or file of this machine that a container sees, under the same name if no other."""

    source: Path
    writable: bool = False
    target: Path | None = None


def replica_user() -> tuple[int, int]:
    """The uid and gid that replicas run as: the deployer's own, or the image's under root."""
    uid = os.getuid()
    return (uid, os.getgid()) if uid else (IMAGE_USER, IMAGE_USER)


def home_digest(root: Path) -> str:
    """Tells the servers of one installation from those of another on the same engine."""
    return hashlib.sha256(os.fsencode(root.resolve())).hexdigest()[:16]


def replica_config(
    resources: ResourcesSpec, mounts: tuple[Mount, ...], labels: Mapping[str, str]
) -> dict[str, Any]:
    """The arguments of `docker.containers.create` beside image, command and name.

    No network, no capability, nothing writable but `mounts` that say so and a small /tmp that
    nothing is executed from; cores, memory (no swap), processes and log are bounded.
    """
    uid, gid = replica_user()
    threads = resources.threads
    limits: dict[str, Any] = {
        "nano_cpus": int(resources.cpu * 1e9),
        "mem_limit": resources.memory_bytes,
        "memswap_limit": resources.memory_bytes,
        "pids_limit": _OWN_THREADS + _THREADS_PER_CORE * threads,
        "ulimits": [
            {"Name": "core", "Soft": 0, "Hard": 0},
        ],
        "tmpfs": {"/tmp": f"rw,noexec,nosuid,nodev,mode=1777,size={_TMP_BYTES}"},  # noqa: S108
        "log_config": {
            "type": "json-file",
            "config": {"max-size": _LOG_SIZE, "max-file": _LOG_FILES},
        },
    }
    if resources.gpu:
        limits["device_requests"] = [{"Count": resources.gpu, "Capabilities": [["gpu"]]}]
    config = {
        "user": f"{uid}:{gid}",
        "network_mode": "none",
        "ipc_mode": "none",
        "privileged": False,
        "read_only": True,
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "init": True,
        "environment": {"OMP_NUM_THREADS": str(threads), "HOME": "/tmp"},  # noqa: S108
        "mounts": [_bind(mount) for mount in mounts],
        "restart_policy": {"Name": "on-failure", "MaximumRetryCount": _RESTARTS},
        **limits,
    }
    return {**config, "labels": {**labels, CONFIG_LABEL: _digest(config)}}


def _bind(mount: Mount) -> dict[str, Any]:
    if mount.source.name == "docker.sock":
        raise ValueError("the engine's socket is mounted nowhere")
    return {
        "Type": "bind",
        "Source": str(mount.source),
        "Target": str(mount.target or mount.source),
        "ReadOnly": not mount.writable,
        "BindOptions": {"Propagation": "rprivate"},
    }


def _digest(config: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:16]
