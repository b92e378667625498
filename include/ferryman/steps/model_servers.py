"""Finds the server that answers for a model, whatever place it runs in."""

from ferryman.runtime.endpoints import Endpoint, endpoint_of
from ferryman.runtime.model_server import ModelServer
from ferryman.serving.client import ServingClient
from ferryman.settings import Settings
from ferryman.spec.model import ModelSpec
from ferryman.spec.servers import find_server


def model_server_of(settings: Settings, spec: ModelSpec) -> ModelServer:
    """The model server of a model; SpecError (exit 2) where none of that name is declared."""
    return ServingClient(endpoint_for(settings, spec))


def endpoint_for(settings: Settings, spec: ModelSpec) -> Endpoint:
    """Where the server of a model is reached."""
    name = spec.serving.server
    return endpoint_of(settings, name, find_server(settings.zoo, name))
