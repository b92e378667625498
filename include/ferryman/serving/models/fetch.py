"""`python -m ferryman.serving fetch`: brings released bundles to a server's own folder, verified.

It runs before the server, where both are started anew together (an init container): the server
then needs neither the store nor the network.
"""

import argparse
import logging
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from ferryman.errors import FerrymanError, IntegrityBroken, PolicyRefused, SpecError
from ferryman.runtime.bundle_signing import verify_signed
from ferryman.runtime.bundle_store import RELEASE, Release, ReleasedModel, download_bundle
from ferryman.runtime.connection_url import parse_connection
from ferryman.runtime.connections import Connection
from ferryman.runtime.data_store import open_object_store
from ferryman.runtime.declared_connections import DeclaredConnections
from ferryman.runtime.files import created_once
from ferryman.runtime.json_logs import set_up_logs
from ferryman.runtime.object_store import ObjectStore
from ferryman.serving.models.served_pointers import Pointer, Pointers, write_pointers
from ferryman.settings import Settings, load_settings

_COPIES = "models"

logger = logging.getLogger(__name__)


def main(arguments: Sequence[str] = ()) -> int:
    """Fetch what a release file names; the exit code is that of the error tree."""
    parser = argparse.ArgumentParser(prog="python -m ferryman.serving fetch")
    parser.add_argument("--release", type=Path, required=True, help="JSON: model to version")
    parser.add_argument("--bundles", required=True, help="connection, or s3:// or file:// URL")
    parser.add_argument("--root", type=Path, required=True, help="folder of the server's state")
    given = parser.parse_args(arguments)
    set_up_logs("fetch")
    settings = load_settings()
    try:
        release = read_release(given.release)
        store = open_object_store(_connection(settings, given.bundles))
        fetch_release(release, store, given.root, settings.signing_public_key)
    except FerrymanError as error:
        logger.error("%s", error)
        return int(error.exit_code)
    return 0


def read_release(file: Path) -> Release:
    """The models of a release file; SpecError (exit 2) where it is none."""
    try:
        return RELEASE.validate_json(file.read_bytes())
    except (OSError, ValidationError) as error:
        raise SpecError(f"{file} is no release: {error}") from error


def fetch_release(
    release: Release, store: ObjectStore, root: Path, public_key: Path | None = None
) -> None:
    """Bring every bundle to <root>/models/<model>/<digest>, then name them in <root>/served.json.

    A copy that is there and in order stays. Raises IntegrityBroken (exit 7) for bytes that are not
    as recorded, PolicyRefused (exit 9) for an unsigned bundle where a key is configured; then
    served.json is not written.
    """
    for model, released in release.items():
        _bring(model, released, store, root / _COPIES / model / released.digest, public_key)
    served = {
        model: Pointer(version=one.version, epoch=one.epoch, digest=one.digest)
        for model, one in release.items()
    }
    write_pointers(root, Pointers(served))
    logger.info("%d models fetched to %s", len(release), root)


def _bring(
    model: str, released: ReleasedModel, store: ObjectStore, target: Path, public_key: Path | None
) -> None:
    if target.is_dir():
        try:
            verify_signed(target, digest=released.digest, public_key=public_key)
            return
        except (IntegrityBroken, PolicyRefused) as error:
            logger.warning("%s cannot be used and is fetched anew: %s", target, error)
            shutil.rmtree(target)
    with created_once(target) as scratch:
        download_bundle(store, released, scratch)
        manifest = verify_signed(scratch, digest=released.digest, public_key=public_key)
        if manifest.model != model:
            raise IntegrityBroken(f"{released.bundle} is a bundle of {manifest.model!r}")
    logger.info("%s version %d (epoch %d) fetched", model, released.version, released.epoch)


def _connection(settings: Settings, name: str) -> Connection:
    if "://" in name:
        return parse_connection("bundles", name)
    return DeclaredConnections(settings).get(name)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
