"""Finds the server that answers for a model, whatever place it runs in."""

import logging
from dataclasses import dataclass

from ferryman.runtime.connections import Connections
from ferryman.runtime.endpoints import Endpoint, endpoint_of
from ferryman.runtime.model_server import ModelServer
from ferryman.serving.client import ServingClient
from ferryman.settings import Settings
from ferryman.spec.loader import load_model
from ferryman.spec.model import ModelSpec
from ferryman.spec.servers import find_server
from ferryman.spec.serving import MAIN

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ClusterEndpoint(Endpoint):
    """A server in a cluster: reached by an address of its own, without administration."""

    address: str = ""

    @property
    def url(self) -> str:
        """The address that clients of the served models use."""
        return self.address


def model_server_of(
    settings: Settings, spec: ModelSpec, connections: Connections | None = None
) -> ModelServer:
    """The model server of a model; SpecError (exit 2) where none of that name is declared."""
    return named_model_server(settings, spec.serving.server, connections)


def named_model_server(
    settings: Settings, name: str, connections: Connections | None = None
) -> ModelServer:
    """The model server of a declared server; SpecError (exit 2) where there is none."""
    server = find_server(settings.zoo, name)
    if server.place != "kubernetes":
        return ServingClient(endpoint_of(settings, name, server))
    # The cluster's client is imported by those who have a cluster alone.
    from ferryman.deployment.cluster.kubernetes_model_server import KubernetesModelServer

    return KubernetesModelServer.declared(settings, name, server, connections)


def ensure_deployed(settings: Settings, name: str) -> None:
    """Start a declared server that does not run yet.

    The processes of `main` are their operator's: `make run`, `ferryman serve`, a service manager.
    Pods come with the first release to a cluster. Raises what the place's deployer raises.
    """
    server = find_server(settings.zoo, name)
    if server.place == "kubernetes" or (server.place == "process" and name == MAIN):
        return
    from ferryman.deployment.deployers import deployer_of

    deployer = deployer_of(settings, name)
    if deployer.status().state == "stopped":
        logger.info("server %s does not run: it is started", name)
        deployer.start()


def endpoint_for(settings: Settings, spec: ModelSpec) -> Endpoint:
    """Where the server of a model is reached."""
    return named_endpoint(settings, spec.serving.server)


def named_endpoint(settings: Settings, name: str) -> Endpoint:
    """Where a declared server is reached; SpecError (exit 2) where there is none."""
    server = find_server(settings.zoo, name)
    near = endpoint_of(settings, name, server)
    if server.place != "kubernetes":
        return near
    from ferryman.deployment.cluster.kubernetes_deployer import declared_url

    return ClusterEndpoint(
        near.server, near.host, near.port, near.admin_port, near.root, declared_url(name, server)
    )


def has_administration(settings: Settings, spec: ModelSpec) -> bool:
    """Whether the model's server can be asked to finish its prediction log; pods cannot."""
    return find_server(settings.zoo, spec.serving.server).place != "kubernetes"


def server_name_of(settings: Settings, model: str) -> str:
    """The server that a model of the ledger belongs to: `main` where its folder is gone.

    Raises DeclarationError (exit 2) for a declaration that is there, but cannot be read.
    """
    file = settings.zoo / model / "model.yaml"
    return load_model(file).spec.serving.server if file.is_file() else MAIN
