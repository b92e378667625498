"""Released bundles in an object store, for servers that share no disk with whoever packaged them.

A bundle lies under <model>/<digest>/, file by file, its manifest last: where the manifest is, the
bundle is whole. Signatures differ each time that they are made, so each lies under its own sha256.
"""

from collections.abc import Mapping
from pathlib import Path
from shutil import copyfileobj

from pydantic import Field, TypeAdapter

from ferryman.errors import IntegrityBroken
from ferryman.runtime.bundle import MANIFEST, SEAL, BundlePart, read_manifest
from ferryman.runtime.files import file_digest, resolve_inside, space_errors
from ferryman.runtime.object_store import ObjectStore

_SHA256 = r"^[0-9a-f]{64}$"


class ReleasedModel(BundlePart):
    """What a server must serve of one model, and where its bundle lies in the store."""

    version: int = Field(ge=1)
    epoch: int = Field(ge=1)
    digest: str = Field(pattern=_SHA256)
    bundle: str = Field(description="Key of the bundle in the bundle store.")
    seal: str | None = Field(
        default=None, pattern=_SHA256, description="The sha256 of its signature, if it has one."
    )


RELEASE = TypeAdapter(dict[str, ReleasedModel])
Release = Mapping[str, ReleasedModel]


def upload_bundle(store: ObjectStore, folder: Path) -> tuple[str, str | None]:
    """Bring a verified bundle into the store; returns its key, and the sha256 of its signature.

    What is there already is not sent again: it was written under the same digest, and is verified
    by everybody who downloads it.
    """
    manifest = read_manifest(folder)
    key = f"{manifest.model}/{manifest.digest}"
    seal = seal_of(folder)
    for name, entry in manifest.files.items():
        if store.size(f"{key}/{name}") != entry.size:
            store.create(f"{key}/{name}", folder / name)
    if seal is not None:
        store.create(_seal_key(key, seal), folder / SEAL)
    store.create(f"{key}/{MANIFEST}", folder / MANIFEST)
    return key, seal


def seal_of(folder: Path) -> str | None:
    """The sha256 of a bundle's signature; None where nobody has signed it."""
    return file_digest(folder / SEAL) if (folder / SEAL).is_file() else None


def download_bundle(store: ObjectStore, released: ReleasedModel, target: Path) -> None:
    """Write a bundle's files into a folder; the caller verifies them.

    Raises IntegrityBroken (exit 7) for what is not there or cannot be read.
    """
    key = released.bundle
    _fetch(store, f"{key}/{MANIFEST}", target / MANIFEST)
    for name in read_manifest(target).files:
        try:
            file = resolve_inside(target, name)
        except ValueError as error:
            raise IntegrityBroken(f"bundle {store.uri(key)}: {error}") from error
        _fetch(store, f"{key}/{name}", file)
    if released.seal is not None:
        _fetch(store, _seal_key(key, released.seal), target / SEAL)


def _seal_key(key: str, seal: str) -> str:
    return f"{key}/{SEAL}/{seal}"


def _fetch(store: ObjectStore, key: str, file: Path) -> None:
    source = store.open(key)
    if source is None:
        raise IntegrityBroken(
            f"{store.uri(key)} is not there",
            remedy="Release the model again: its bundle is then brought to the store.",
        )
    with source, space_errors(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("wb") as target:
            copyfileobj(source, target, 1 << 20)
