"""What the cluster remembers of a server: its released models, and how many replicas it has."""

from dataclasses import dataclass, field

from pydantic import ValidationError

from ferryman.deployment.cluster.connection import Cluster
from ferryman.deployment.cluster.workload import Workload, state_manifest
from ferryman.errors import IntegrityBroken
from ferryman.runtime.bundle_store import RELEASE, Release


@dataclass(frozen=True)
class Remembered:
    """The state as it was read; `seen` is the resourceVersion, None before there was any."""

    release: Release = field(default_factory=dict)
    replicas: int | None = None
    seen: str | None = None


def recall(cluster: Cluster, server: str) -> Remembered:
    """What is remembered of a server; IntegrityBroken (exit 7) where it cannot be read."""
    found = cluster.get("ConfigMap", f"{server}-release")
    if found is None:
        return Remembered()
    data = found.get("data") or {}
    try:
        release = RELEASE.validate_json(data.get("release.json", "{}"))
        replicas = int(data["replicas"]) if "replicas" in data else None
    except (ValidationError, ValueError) as error:
        raise IntegrityBroken(
            f"ConfigMap {cluster.namespace}/{server}-release cannot be read: {error}",
            remedy="Delete it and run `ferryman reconcile`: the ledger knows what to serve.",
        ) from error
    return Remembered(release, replicas, found["metadata"]["resourceVersion"])


def remember(cluster: Cluster, workload: Workload, seen: str | None) -> None:
    """Write the state by compare-and-set; LostRace (exit 8) where somebody wrote since `seen`."""
    manifest = state_manifest(workload)
    if seen is None:
        cluster.create(manifest)
    else:
        manifest["metadata"]["resourceVersion"] = seen
        cluster.replace(manifest)
