"""Opens the declared sources of a model: one adapter for each kind."""

from pathlib import Path

from ferryman.data.sources.files_source import FilesSource
from ferryman.data.sources.source import Source
from ferryman.runtime.connections import Connections
from ferryman.runtime.data_store import open_object_store
from ferryman.runtime.local_object_store import LocalObjectStore
from ferryman.runtime.object_store import ObjectStore
from ferryman.spec.model import DeclaredModel
from ferryman.spec.sources import FilesSourceSpec, SourceSpec, SqlSourceSpec


def open_sources(
    model: DeclaredModel, source_root: Path, connections: Connections
) -> dict[str, Source]:
    """The declared sources of a model, by name; none is asked for anything yet."""
    return {
        name: _open(name, spec, model, source_root, connections)
        for name, spec in model.spec.data.sources.items()
    }


def _open(
    name: str,
    spec: SourceSpec,
    model: DeclaredModel,
    source_root: Path,
    connections: Connections,
) -> Source:
    default = model.spec.data.max_rejected
    share = default if spec.max_rejected is None else spec.max_rejected
    if isinstance(spec, FilesSourceSpec):
        store: ObjectStore = LocalObjectStore(source_root)
        if spec.connection is not None:
            store = open_object_store(connections.get(spec.connection))
        return FilesSource(name, spec, store, max_rejected=share)
    if isinstance(spec, SqlSourceSpec):
        from ferryman.data.sources.sql_source import SqlSource

        return SqlSource(name, spec, connections, model.folder, max_rejected=share)
    from ferryman.data.sources.http_source import HttpSource

    return HttpSource(name, spec, connections, max_rejected=share)
