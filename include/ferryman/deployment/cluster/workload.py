"""What a server in a cluster is made of, and the names and labels that its objects bear."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode, urlsplit

from ferryman.errors import SpecError
from ferryman.runtime.bundle_store import RELEASE, Release
from ferryman.runtime.connections import Connection
from ferryman.runtime.files import json_bytes
from ferryman.spec.servers import KubernetesSpec, ServerSpec

PORT = 8600
RELEASE_NOTE = "ferryman/release"
KEY_NOTE = "ferryman/signing-public-key"
NAME, INSTANCE = "app.kubernetes.io/name", "app.kubernetes.io/instance"
MANAGER = "app.kubernetes.io/managed-by"
_PROGRAM = "ferryman-server"

Manifest = dict[str, Any]


@dataclass(frozen=True)
class Workload:
    """One server in a cluster: its declaration, and what it must serve.

    `replicas` is how many are wanted where nothing scales by rule; `predictions` where pods bring
    their prediction log, which ends with them otherwise; `public_key` the PEM text of the key that
    bundles must be signed with, "" where none is configured; `label_digest` the digest of the token
    of those who post labels.
    """

    name: str
    server: ServerSpec
    bundles: Connection
    release: Release = field(default_factory=dict)
    replicas: int | None = None
    predictions: Connection | None = None
    public_key: str = ""
    label_digest: str = ""

    @property
    def cluster(self) -> KubernetesSpec:
        """The part of the declaration that is about the cluster; SpecError (exit 2) without one."""
        if self.server.kubernetes is None:
            raise SpecError(
                f"server {self.name!r} does not run in a cluster: place is {self.server.place}",
                remedy="Declare place: kubernetes, or use `ferryman serve`.",
            )
        return self.server.kubernetes

    @property
    def count(self) -> int | None:
        """How many replicas are wanted; None where a rule says it, in the cluster."""
        if self.server.autoscaling is not None:
            return None
        return self.replicas or self.server.replicas

    @property
    def selector(self) -> Mapping[str, str]:
        """The labels that only this server's pods bear."""
        return {NAME: _PROGRAM, INSTANCE: self.name}

    @property
    def labels(self) -> Mapping[str, str]:
        """The labels of all its objects."""
        return {
            **self.selector,
            "app.kubernetes.io/component": "model-server",
            "app.kubernetes.io/part-of": "ferryman",
            MANAGER: "ferryman",
        }

    @property
    def notes(self) -> Mapping[str, str]:
        """Annotations of its pods: what they must serve. Another release is another pod template.

        Pods read them as files, so that each pod serves what its own template says, however late it
        starts; a shared ConfigMap would give the newest release to the pods of an older one.
        """
        release = {name: self.release[name] for name in sorted(self.release)}
        notes = {RELEASE_NOTE: RELEASE.dump_json(release, exclude_none=True).decode()}
        return {**notes, KEY_NOTE: self.public_key} if self.public_key else notes

    def metadata(self, name: str | None = None, **more: Any) -> Manifest:
        """The metadata of an object; its name is the server's unless told otherwise."""
        return {
            "name": name or self.name,
            "namespace": self.cluster.namespace,
            "labels": dict(self.labels),
            **more,
        }

    @property
    def deployment(self) -> str:
        """The name of the Deployment that keeps its pods; KServe makes one of its own."""
        return f"{self.name}-predictor" if self.cluster.kind == "kserve" else self.name


def state_manifest(workload: Workload) -> Manifest:
    """The ConfigMap that remembers what the server must serve, and how many replicas it has.

    It outlives `stop`, as the pointers of a server of this machine do.
    """
    release = {
        name: one.model_dump(mode="json", exclude_none=True)
        for name, one in workload.release.items()
    }
    data = {"release.json": json_bytes(release).decode()}
    if workload.replicas is not None:
        data["replicas"] = str(workload.replicas)
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": workload.metadata(f"{workload.name}-release"),
        "data": data,
    }


def connection_environment(connection: Connection) -> list[Manifest]:
    """How a pod learns of a connection: by its address, or by a Secret where it needs a key.

    Raises SpecError (exit 2) for a store that no pod can reach.
    """
    if connection.scheme != "s3":
        raise SpecError(
            f"connection {connection.name!r} is {connection.scheme}://, which no pod reaches",
            remedy="Let `bundles`, and FERRYMAN_PREDICTIONS_CONNECTION, lead to s3://BUCKET/PREFIX.",
        )
    variable = f"FERRYMAN_CONNECTION_{connection.name.upper()}"
    if connection.password is None:
        options = (
            f"?{urlencode(dict(sorted(connection.options.items())))}" if connection.options else ""
        )
        return [{"name": variable, "value": f"{connection.url}{options}"}]
    key = {"name": secret_name(connection), "key": "url"}
    return [{"name": variable, "valueFrom": {"secretKeyRef": key}}]


def secret_name(connection: Connection) -> str:
    """The Secret that an operator makes for a connection with a password; its key is `url`."""
    return f"ferryman-connection-{connection.name.replace('_', '-')}"


def connection_address(connection: Connection) -> tuple[str | None, int]:
    """Host and port of a connection; AWS's own hosts are many, so that None stands for them."""
    endpoint = connection.options.get("endpoint")
    if endpoint is None:
        return None, 443
    parts = urlsplit(endpoint)
    return parts.hostname, parts.port or (80 if parts.scheme == "http" else 443)
