"""Where the prediction log is: this installation's folder, and what a connection names."""

from collections.abc import Callable

from ferryman.runtime.connections import Connections
from ferryman.runtime.data_store import open_object_store
from ferryman.runtime.declared_connections import DeclaredConnections
from ferryman.runtime.local_object_store import LocalObjectStore
from ferryman.runtime.object_store import ObjectStore
from ferryman.settings import Settings


def prediction_places(settings: Settings, connections: Connections) -> tuple[ObjectStore, ...]:
    """Where predictions are read, in the order that files move: the folder, then the other place.

    SpecError (exit 2) for a connection that is unfit.
    """
    own = LocalObjectStore(settings.predictions_root)
    if not settings.predictions_connection:
        return (own,)
    return own, open_object_store(connections.get(settings.predictions_connection))


def log_destination(settings: Settings) -> Callable[[], ObjectStore] | None:
    """What a server calls to open the place that its log goes to; None where it stays here.

    Opened late, by the thread that uploads: a server starts whatever is away. It asks the
    installation's own connections.
    """
    name = settings.predictions_connection
    if not name:
        return None
    return lambda: open_object_store(DeclaredConnections(settings).get(name))
