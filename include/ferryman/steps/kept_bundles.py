"""Finds the bundle of a released version in order, or restores it from a verified copy.

A bundle is named by its digest, so any copy of it that verifies is as good as the first one.
"""

import logging
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from ferryman.errors import FerrymanError, IntegrityBroken
from ferryman.registry.registry import RegisteredVersion, Registry
from ferryman.runtime.bundle_signing import verify_signed
from ferryman.runtime.files import created_once
from ferryman.settings import Settings
from ferryman.steps.model_servers import named_endpoint, server_name_of

_COPIES = "models"  # of a server's root, see serving.models.model_copies

logger = logging.getLogger(__name__)


class KeptBundles:
    """The bundles of one model below the installation's bundle folder."""

    def __init__(self, settings: Settings, model: str, registry: Registry) -> None:
        self._settings = settings
        self._model = model
        self._registry = registry

    def place(self, digest: str) -> Path:
        """Where the bundle of a digest belongs."""
        return self._settings.bundles_root / self._model / digest

    def verify(self, digest: str) -> None:
        """IntegrityBroken (exit 7) for missing or changed bytes, PolicyRefused (exit 9) unsigned.

        A signature is asked for where a public key is configured.
        """
        self._check(self.place(digest), digest)

    def ensure(self, digest: str, registered: RegisteredVersion | None) -> str:
        """Verify a bundle, or restore it; returns where it was restored from, "" when in order.

        Raises IntegrityBroken (exit 7), which names every copy and what is wrong with it, where
        none verifies; PolicyRefused (exit 9) where its bytes are right, but nobody signed it.
        """
        try:
            self.verify(digest)
            return ""
        except IntegrityBroken as error:
            wrong = error
        reasons = [wrong.text]
        for name, bring in self._sources(digest, registered):
            try:
                self._replace(digest, bring)
            except FerrymanError as error:
                reasons.append(f"{name}: {error.text}")
            else:
                logger.warning("%s: restored from %s: %s", self._model, name, wrong.text)
                return name
        raise IntegrityBroken(
            f"the bundle {digest[:12]} of {self._model} cannot be restored: {'; '.join(reasons)}",
            remedy=f"Put a verified copy at {self.place(digest)}, or train again.",
        )

    def _sources(
        self, digest: str, registered: RegisteredVersion | None
    ) -> Iterator[tuple[str, Callable[[Path], object]]]:
        with suppress(FerrymanError):  # a declaration that is wrong now says nothing of the server
            server = server_name_of(self._settings, self._model)
            copy = named_endpoint(self._settings, server).root / _COPIES / self._model / digest
            if copy.is_dir():
                yield (
                    f"the verified copy of server {server!r}",
                    lambda target: shutil.copytree(copy, target, dirs_exist_ok=True),
                )
        if registered is not None:
            yield (
                f"MLflow's version {registered.version}",
                lambda target: self._registry.download(registered, target),
            )

    def _replace(self, digest: str, bring: Callable[[Path], object]) -> None:
        """Put a copy that verifies where the damaged bundle is; that one is there until then."""
        place = self.place(digest)
        with created_once(place) as scratch:
            bring(scratch)
            self._check(scratch, digest)
            damaged = scratch.with_name(f"{scratch.name}.damaged")
            with suppress(FileNotFoundError):
                place.rename(damaged)
        shutil.rmtree(damaged, ignore_errors=True)
        self.verify(digest)

    def _check(self, folder: Path, digest: str) -> None:
        key = self._settings.signing_public_key
        try:
            manifest = verify_signed(folder, digest=digest, public_key=key)
        except OSError as error:
            raise IntegrityBroken(f"bundle {folder} cannot be read: {error}") from error
        if manifest.model != self._model:
            raise IntegrityBroken(f"bundle {folder} is of another model than {self._model!r}")
