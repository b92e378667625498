"""Opens the place where an installation keeps its data: a folder, or what a connection names."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

from ferryman.errors import SpecError
from ferryman.runtime.connections import Connection, Connections
from ferryman.runtime.declared_connections import DeclaredConnections
from ferryman.runtime.local_object_store import LocalObjectStore
from ferryman.runtime.object_store import ObjectStore
from ferryman.settings import Settings


def open_data_store(settings: Settings, connections: Connections) -> ObjectStore:
    """Where snapshots and datasets are kept; SpecError (exit 2) for an unfit connection."""
    if settings.data_connection:
        return open_object_store(connections.get(settings.data_connection))
    return LocalObjectStore(settings.data_root)


def open_own_data_store(settings: Settings) -> ObjectStore:
    """The same by the installation's own connections: for the command line and simulations."""
    return open_data_store(settings, DeclaredConnections(settings))


def open_object_store(connection: Connection) -> ObjectStore:
    """The place that a connection leads to: s3://bucket/prefix or file:///folder."""
    if connection.scheme == "file":
        return LocalObjectStore(Path(unquote(urlsplit(connection.url).path)))
    if connection.scheme == "s3":
        # boto3 is imported by those who keep their data in a bucket alone.
        from ferryman.runtime.s3_object_store import S3ObjectStore

        return S3ObjectStore(connection)
    raise SpecError(
        f"connection {connection.name!r}: {connection.scheme}:// is no place for files",
        remedy="Give s3://BUCKET/PREFIX or file:///FOLDER.",
    )
