"""A small installation whose servers run in a cluster: a played one, or a real control plane."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from services.played_pods import Fate

from ferryman.deployment.cluster.connection import Cluster
from ferryman.deployment.cluster.kubernetes_deployer import KubernetesDeployer, declared_workload
from ferryman.deployment.cluster.kubernetes_model_server import KubernetesModelServer
from ferryman.deployment.cluster.server import ClusterServer, Patience
from ferryman.runtime.memory_object_store import MemoryObjectStore
from ferryman.runtime.object_store import ObjectStore
from ferryman.settings import Settings
from ferryman.spec.servers import ServerSpec

IMAGE = "registry.example/ferryman@sha256:" + "a" * 64
QUICK = Patience(rollout=20, trouble=0.2, stop=20, pause=0.02)


def server_spec(*, kind: str = "deployment", replicas: int = 1, **keys: Any) -> ServerSpec:
    """A declaration; keys `autoscaling` and `resources` are the server's, others the cluster's."""
    of_server = {key: keys.pop(key) for key in ("autoscaling", "resources") if key in keys}
    cluster = {"image": IMAGE, "kind": kind, "bundles": "lake", **keys}
    return ServerSpec.model_validate(
        {"place": "kubernetes", "replicas": replicas, "kubernetes": cluster, **of_server}
    )


def settings_in(home: Path, **more: Any) -> Settings:
    """Settings whose connection `lake` leads to a bucket with a password."""
    lake = "s3://key-of-the-lake:secret-of-the-lake@bucket/bundles?endpoint=https://s3.example:9000"
    return Settings(home=home, connection_urls={"lake": lake}, **more)


@dataclass
class ClusterWorld:
    """Servers of one namespace. `set_fate` says what becomes of pods from now on."""

    settings: Settings
    cluster: Cluster
    set_fate: Callable[[Fate], None]
    patience: Patience = QUICK
    store: ObjectStore = field(default_factory=MemoryObjectStore)

    def deployer(self, name: str = "main", **spec: Any) -> KubernetesDeployer:
        """The deployer of a server."""
        return KubernetesDeployer(
            self.settings,
            name,
            self._declared(spec),
            cluster=self.cluster,
            patience=self.patience,
        )

    def models(self, name: str = "main", **spec: Any) -> KubernetesModelServer:
        """The model server of a server."""
        workload = declared_workload(self.settings, name, self._declared(spec))
        server = ClusterServer(workload, self.cluster, self.patience)
        return KubernetesModelServer(self.settings, server, self.store)

    def _declared(self, spec: dict[str, Any]) -> ServerSpec:
        return server_spec(**{"namespace": self.cluster.namespace, **spec})

    def notes(self, name: str = "main") -> list[str]:
        """What each pod of a server was told to serve."""
        pods = self.cluster.find("Pod", {"app.kubernetes.io/instance": name})
        return [pod["metadata"]["annotations"]["ferryman/release"] for pod in pods]
