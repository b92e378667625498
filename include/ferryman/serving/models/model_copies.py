"""A server's own copies of bundles, every byte verified: a restart needs nothing else."""

import logging
import shutil
from pathlib import Path

from ferryman.errors import IntegrityBroken, PolicyRefused, SpecError
from ferryman.runtime.bundle import Manifest
from ferryman.runtime.bundle_signing import verify_signed
from ferryman.runtime.files import created_once, resolve_inside

_KEEP_COPIES = 3

logger = logging.getLogger(__name__)


class ModelCopies:
    """Copies below `root`; `bundles_root` is the only place that they are made from.

    With a `public_key` only bundles that its owner signed are copied and used.
    """

    def __init__(
        self, root: Path, bundles_root: Path | None = None, public_key: Path | None = None
    ) -> None:
        self._root = root
        self._bundles_root = bundles_root
        self._public_key = public_key

    def verified(self, name: str, digest: str) -> Path:
        """The copy of a bundle; IntegrityBroken (exit 7) where there is none that is as named."""
        folder = self._folder(name, digest)
        self._verify(folder, digest)
        return folder

    def bring(self, name: str, bundle: str, digest: str) -> Path:
        """The copy of a bundle, made if there is none that can be used.

        Raises IntegrityBroken (exit 7) for bytes or a model other than named, PolicyRefused (exit
        9) for a signature that lacks, SpecError (exit 2) for a place outside of the bundles.
        """
        target = self._folder(name, digest)
        if target.is_dir():
            try:
                self._verify(target, digest)
                return target
            except (IntegrityBroken, PolicyRefused):
                logger.exception("the local copy %s cannot be used; copying it anew", target)
                shutil.rmtree(target)
        source = self._source(bundle)
        if self._verify(source, digest).model != name:
            raise IntegrityBroken(f"bundle {source} is of another model than {name!r}")
        with created_once(target) as scratch:
            shutil.copytree(source, scratch, dirs_exist_ok=True)
            self._verify(scratch, digest)
        return target

    def drop_old(self, name: str, keep: set[str]) -> None:
        """Remove all but those to keep and the newest few."""
        copies = [entry for entry in self._folder(name, "").iterdir() if entry.is_dir()]
        copies.sort(key=lambda entry: entry.stat().st_mtime, reverse=True)
        for copy in [entry for entry in copies if entry.name not in keep][_KEEP_COPIES:]:
            shutil.rmtree(copy, ignore_errors=True)

    def _verify(self, folder: Path, digest: str) -> Manifest:
        return verify_signed(folder, digest=digest, public_key=self._public_key)

    def _source(self, bundle: str) -> Path:
        try:
            if self._bundles_root is None:
                raise ValueError("this process copies nothing")
            return resolve_inside(self._bundles_root, bundle)
        except (ValueError, OSError) as error:
            raise SpecError(
                f"the bundle is not below the bundle folder of this server{self._moved(bundle)}",
                remedy="Name a bundle that `package` wrote.",
            ) from error

    def _moved(self, bundle: str) -> str:
        """What to do where <home>/bundles/<model>/<digest> was moved; a client is told texts alone.

        "" for anything else that lies elsewhere.
        """
        root, path = self._bundles_root, Path(bundle)
        if root is None or len(path.parents) < 4 or path.exists():
            return ""
        before = path.parents[2]
        if path.parents[1].name != root.name or not (root / path.parent.name / path.name).is_dir():
            return ""
        return f"; it was made in {before}: leave a link there (ln -s {root.parent} {before})"

    def _folder(self, name: str, digest: str) -> Path:
        return self._root / "models" / name / digest
