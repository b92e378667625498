"""Reads and writes Keras models as .keras archives: layers of Keras itself, no code of the file."""

import io
import json
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ferryman.errors import IntegrityBroken, PolicyRefused
from ferryman.runtime.files import write_atomic
from ferryman.training.keras_runtime import prepare_keras

_CONFIG, _METADATA, _WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
_PARTS = frozenset({_CONFIG, _METADATA, _WEIGHTS})
_EPOCH = (1980, 1, 1, 0, 0, 0)
_SAVED = "1980-01-01@00:00:00"
# Where the classes of a model may come from. Not the whole of keras: it has functions that read
# files and fetch addresses, and a file may name any of them.
TRUSTED_MODULES = frozenset(
    {
        "keras",
        "keras.activations",
        "keras.constraints",
        "keras.dtype_policies",
        "keras.initializers",
        "keras.layers",
        "keras.losses",
        "keras.metrics",
        "keras.models",
        "keras.optimizers",
        "keras.optimizers.schedules",
        "keras.regularizers",
    }
)
_TRUSTED_OPERATIONS = "keras.src.ops."  # what `a + b` between layers is written as
# Layers that run code of the file, or read other files (vocabularies, SavedModels, pickles).
REFUSED_CLASSES = frozenset(
    {
        "FlaxLayer",
        "IntegerLookup",
        "JaxLayer",
        "Lambda",
        "StringLookup",
        "TFSMLayer",
        "TextVectorization",
        "TorchModuleWrapper",
    }
)
_PLAIN_MARKS = frozenset({"__tuple__", "__keras_tensor__"})


def save_keras(model: Any, path: Path) -> None:
    """Write a model, atomically; PolicyRefused (exit 9) where it could not be loaded again.

    Equal models give equal bytes: times and memory addresses are taken out.
    """
    with tempfile.TemporaryDirectory(prefix="ferryman-keras-") as scratch:
        file = Path(scratch) / "model.keras"
        model.save(file)
        with zipfile.ZipFile(file) as archive:
            content = {name: archive.read(name) for name in archive.namelist()}
    _refuse_strange(content, path)
    write_atomic(path, _canonical(content))


def load_keras(path: Path, *, cores: int = 1) -> Any:
    """Read a model to ask it; it is not compiled, and cannot be trained on.

    Raises PolicyRefused (exit 9) that lists what is not trusted, before anything of the file is
    built, and IntegrityBroken (exit 7) where the file is not a whole .keras archive.
    """
    content = _whole_archive(path)
    _refuse_strange(content, path)
    keras = prepare_keras(cores=cores)
    with tempfile.TemporaryDirectory(prefix="ferryman-keras-") as scratch:
        # What was checked is what is loaded, whatever becomes of the file meanwhile.
        file = Path(scratch) / "model.keras"
        file.write_bytes(_archive(content))
        try:
            return keras.saving.load_model(file, safe_mode=True, compile=False)
        except Exception as error:
            raise IntegrityBroken(f"{path}: not a readable Keras model: {_first(error)}") from error


def _whole_archive(path: Path) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(io.BytesIO(path.read_bytes())) as archive:
            content = {name: archive.read(name) for name in archive.namelist()}
    except Exception as error:  # a damaged archive raises half a dozen kinds
        raise IntegrityBroken(f"{path}: not a readable Keras file: {_first(error)}") from error
    if missing := sorted(_PARTS - content.keys()):
        raise IntegrityBroken(f"{path}: not a whole Keras file: no {', '.join(missing)}")
    return content


def _refuse_strange(content: dict[str, bytes], path: Path) -> None:
    """PolicyRefused (exit 9) for whatever a Keras model of numbers does not need."""
    try:
        config = json.loads(content[_CONFIG])
    except ValueError as error:
        raise IntegrityBroken(f"{path}: {_CONFIG} is not JSON: {error}") from error
    strange = {f"file {name}" for name in content if name not in _PARTS}
    strange |= {name for node in _nodes(config) if (name := _untrusted(node))}
    strange |= set(_foreign_links(content[_WEIGHTS], path))
    if strange:
        shown = ", ".join(sorted(name[:80] for name in strange)[:10])
        raise PolicyRefused(
            f"{path}: holds what is not trusted: {shown}",
            remedy="Build the model of Keras' own layers, without Lambda and own classes.",
        )


def _nodes(config: Any) -> Iterator[dict[str, Any]]:
    """Every object of the configuration, whatever it lies in."""
    if isinstance(config, dict):
        yield config
    if isinstance(config, dict | list):
        for inner in config.values() if isinstance(config, dict) else config:
            yield from _nodes(inner)


def _untrusted(node: dict[str, Any]) -> str:
    """What an object would load, where that is not trusted; "" where it is."""
    if "class_name" not in node:
        return ""
    kind, module = str(node["class_name"]), node.get("module")
    if module is None and kind in _PLAIN_MARKS:
        return ""
    known = module in TRUSTED_MODULES or str(module).startswith(_TRUSTED_OPERATIONS)
    if not known or kind in REFUSED_CLASSES or node.get("registered_name") is not None:
        return f"{module}.{kind}" if module else kind
    return ""


def _foreign_links(weights: bytes, path: Path) -> list[str]:
    """Places in the weights that lead to another file."""
    import h5py

    found = []
    try:
        with h5py.File(io.BytesIO(weights), "r") as file:
            names: list[str] = []
            file.visit_links(names.append)
            for name in names:
                link = file.get(name, getlink=True)
                entry = None if not isinstance(link, h5py.HardLink) else file[name]
                if entry is None or (isinstance(entry, h5py.Dataset) and entry.external):
                    found.append(f"link {name}")
    except (OSError, KeyError, RuntimeError) as error:
        raise IntegrityBroken(f"{path}: {_WEIGHTS}: {_first(error)}") from error
    return found


def _canonical(content: dict[str, bytes]) -> bytes:
    config = _renumber(json.loads(content[_CONFIG]), {})
    metadata = {**json.loads(content[_METADATA]), "date_saved": _SAVED}
    return _archive(
        {
            _CONFIG: json.dumps(config, sort_keys=True).encode(),
            _METADATA: json.dumps(metadata, sort_keys=True).encode(),
            _WEIGHTS: content[_WEIGHTS],
        }
    )


def _archive(content: dict[str, bytes]) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(content):
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), content[name], zipfile.ZIP_DEFLATED)
    return target.getvalue()


def _renumber(node: Any, ids: dict[int, int]) -> Any:
    """The same configuration with shared objects numbered as they come, not by their address."""
    if isinstance(node, list):
        return [_renumber(item, ids) for item in node]
    if not isinstance(node, dict):
        return node
    return {
        key: ids.setdefault(value, len(ids) + 1)
        if key == "shared_object_id" and value is not None
        else _renumber(value, ids)
        for key, value in node.items()
    }


def _first(error: Exception) -> str:
    return str(error).strip().split("\n")[0][:300]
