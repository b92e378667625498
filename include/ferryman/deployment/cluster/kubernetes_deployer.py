"""Deploys a server to a cluster: pods behind a Service, kept by the cluster itself."""

import logging
from dataclasses import replace

from ferryman.deployment.cluster.connection import Cluster, connect
from ferryman.deployment.cluster.rollout import Rollout
from ferryman.deployment.cluster.server import ClusterServer, Patience
from ferryman.deployment.cluster.state import Remembered
from ferryman.deployment.cluster.workload import PORT, Workload
from ferryman.deployment.deployer import Deployment, DeploymentState
from ferryman.errors import DependencyUnavailable, LostRace, PolicyRefused, SpecError
from ferryman.runtime.connections import Connections
from ferryman.runtime.declared_connections import DeclaredConnections
from ferryman.runtime.label_token import read_label_digest
from ferryman.settings import Settings
from ferryman.spec.servers import ServerSpec, find_server
from ferryman.spec.serving import MAIN

_MOST = 100
_ATTEMPTS = 5

logger = logging.getLogger(__name__)


def declared_workload(
    settings: Settings,
    name: str,
    server: ServerSpec | None = None,
    connections: Connections | None = None,
) -> Workload:
    """What a declared server is made of, before any release; SpecError (exit 2) if it is none.

    It takes labels where `ferryman labels token` has made a token for it, and its log is brought
    away: what only a pod has, nobody else ever reads.
    """
    spec = server or find_server(settings.zoo, name)
    if spec.kubernetes is None:
        raise SpecError(
            f"server {name!r} does not run in a cluster: its place is {spec.place}",
            remedy="Declare place: kubernetes, or use `ferryman serve`.",
        )
    known = connections or DeclaredConnections(settings)
    log, digest = settings.predictions_connection, read_label_digest(settings.server_root(name))
    if digest and not log:
        logger.warning("pods of %s take no labels: FERRYMAN_PREDICTIONS_CONNECTION is unset", name)
        digest = ""
    return Workload(
        name,
        spec,
        known.get(spec.kubernetes.bundles),
        predictions=known.get(log) if log else None,
        public_key=_key(settings),
        label_digest=digest,
    )


def declared_url(name: str, server: ServerSpec) -> str:
    """Where clients reach it; by default its Service's name, which only the cluster knows."""
    spec = server.kubernetes
    if spec is None:
        raise SpecError(f"server {name!r} does not run in a cluster")
    if spec.url:
        return spec.url.rstrip("/")
    if spec.kind == "kserve":
        return f"http://{name}-predictor.{spec.namespace}.svc"
    return f"http://{name}.{spec.namespace}.svc:{PORT}"


def _key(settings: Settings) -> str:
    file = settings.signing_public_key
    if file is None:
        return ""
    try:
        return file.read_text()
    except OSError as error:
        raise DependencyUnavailable(
            f"the public key for signing cannot be read: {file}: {error.strerror}",
            remedy="Mount the key, or correct FERRYMAN_SIGNING_PUBLIC_KEY.",
        ) from error


class KubernetesDeployer:
    """The server as objects of a namespace, applied server-side; the cluster starts and heals."""

    def __init__(
        self,
        settings: Settings,
        name: str = MAIN,
        server: ServerSpec | None = None,
        *,
        cluster: Cluster | None = None,
        patience: Patience | None = None,
    ) -> None:
        self._workload = declared_workload(settings, name, server)
        self._server = ClusterServer(
            self._workload, cluster or connect(self._workload.cluster), patience
        )

    def start(self) -> Deployment:
        """Apply everything and wait until all replicas are ready; see `Deployer.start`."""
        remembered = self._server.recall()
        if remembered.seen is None:
            try:
                self._server.remember(remembered)
            except LostRace:
                remembered = self._server.recall()
        return self._deployment(self._server.roll_out(), self._server.recall())

    def status(self) -> Deployment:
        """What the cluster says of its pods now."""
        return self._deployment(self._server.look(), self._server.recall())

    def scale(self, replicas: int) -> Deployment:
        """Run so many replicas; PolicyRefused (exit 9) where a declared rule scales."""
        if self._workload.server.autoscaling is not None:
            raise PolicyRefused(
                f"server {self._workload.name!r} is scaled by the cluster, by its declared rules",
                remedy="Change `autoscaling` in servers.yaml, then: ferryman deploy apply.",
            )
        if not 1 <= replicas <= _MOST:
            raise SpecError(f"{replicas} replicas: give 1 to {_MOST}")
        if self._server.look() is None:
            raise DependencyUnavailable(
                f"server {self._workload.name!r} does not run in namespace "
                f"{self._workload.cluster.namespace}",
                remedy=f"Start it: ferryman deploy apply --server {self._workload.name}.",
            )
        self._remember_count(replicas)
        return self._deployment(self._server.roll_out(), self._server.recall())

    def stop(self) -> Deployment:
        """Delete its objects; what it served is remembered for the next start."""
        self._server.remove()
        return self._deployment(None, self._server.recall())

    def _remember_count(self, replicas: int) -> None:
        for _ in range(_ATTEMPTS):
            try:
                self._server.remember(replace(self._server.recall(), replicas=replicas))
                return
            except LostRace:
                continue
        raise LostRace(f"server {self._workload.name!r}: others write its state all the time")

    def _deployment(self, rollout: Rollout | None, remembered: Remembered) -> Deployment:
        url = declared_url(self._workload.name, self._workload.server)
        if rollout is None:
            wanted = remembered.replicas or self._workload.server.replicas
            return Deployment("stopped", url, wanted=wanted)
        state: DeploymentState = "not_ready"
        if rollout.done:
            state = "ready"
        elif not any(replica.state == "ready" for replica in rollout.replicas):
            state = "silent"
        return Deployment(
            state,
            url,
            f"{self._workload.cluster.namespace}/{self._workload.name}",
            "" if rollout.done else str(rollout),
            rollout.wanted,
            rollout.replicas,
        )
