"""The models that a server serves: loaded beside, verified, then swapped by one reference."""

import logging
import shutil
import threading
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from ferryman.errors import FerrymanError, IntegrityBroken, PolicyRefused, SpecError, Superseded
from ferryman.runtime.bundle import Manifest
from ferryman.runtime.bundle_signing import verify_signed
from ferryman.runtime.files import created_once, read_json, resolve_inside, write_json
from ferryman.serving.onnx_model import Identity, OnnxModel, open_verified

POINTERS = "served.json"
_KEEP_COPIES = 3
_UNRELEASED = 0

logger = logging.getLogger(__name__)


class Pointer(BaseModel):
    """What a model serves, as it is remembered across restarts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: int = Field(ge=1)
    epoch: int = Field(ge=1)
    digest: str = Field(pattern=r"^[0-9a-f]{64}$")


_POINTERS = TypeAdapter(dict[str, Pointer])


class ServedModels:
    """Models by name. `get` is safe without a lock: loading builds beside and swaps a reference.

    `root` is the server's own state; `bundles_root` the only place that bundles are read from. With
    a `public_key` only bundles that its owner signed are loaded.
    """

    def __init__(self, root: Path, bundles_root: Path, public_key: Path | None = None) -> None:
        self._root = root
        self._bundles_root = bundles_root
        self._public_key = public_key
        self._lock = threading.Lock()
        self._models: dict[str, OnnxModel] = {}
        self.problems: dict[str, str] = {}
        self.remembered: dict[str, Pointer] = {}
        self.restored = False

    def get(self, name: str) -> OnnxModel | None:
        """The loaded model of a name."""
        return self._models.get(name)

    @property
    def loaded(self) -> list[OnnxModel]:
        """Every loaded model."""
        return list(self._models.values())

    @property
    def is_ready(self) -> bool:
        """Whether every remembered model is loaded; with none remembered a server is ready too."""
        return self.restored and self.remembered.keys() <= self._models.keys()

    def restore(self) -> None:
        """Load every remembered model from the server's own verified copies; it needs no registry.

        A model that cannot be loaded stays away, with its reason in `problems`; the others serve.
        """
        with self._lock:
            self.remembered = self._read_pointers()
            for name, pointer in self.remembered.items():
                try:
                    folder = self._copy_folder(name, pointer.digest)
                    self._verify(folder, pointer.digest)
                    self._models[name] = open_verified(folder, _identity(name, pointer))
                    logger.info("%s version %d (epoch %d) restored", name, *_place(pointer))
                except (FerrymanError, OSError, ValueError) as error:
                    self.problems[name] = str(error)
                    logger.error("%s cannot be restored: %s", name, error)
            self.restored = True

    def check(self, name: str, bundle: str, digest: str) -> None:
        """Load a candidate beside and replay its golden rows; what is served does not change.

        Raises IntegrityBroken (exit 7) for a wrong digest, a wrong model or a wrong answer.
        """
        with self._lock:
            folder = self._bring(name, bundle, digest)
            open_verified(folder, Identity(name, _UNRELEASED, _UNRELEASED, digest))

    def load(self, name: str, pointer: Pointer, bundle: str) -> bool:
        """Serve a released version from now on; False when it is served already.

        Raises Superseded (exit 5) for an epoch at or below the one that is served, IntegrityBroken
        (exit 7) for a bundle that is not what was released; then nothing changes.
        """
        with self._lock:
            known = self.remembered.get(name)
            if known == pointer and name in self._models:
                return False
            if known is not None and known != pointer and pointer.epoch <= known.epoch:
                raise Superseded(
                    f"{name} serves epoch {known.epoch} (version {known.version}); "
                    f"epoch {pointer.epoch} is refused"
                )
            folder = self._bring(name, bundle, pointer.digest)
            model = open_verified(folder, _identity(name, pointer))
            pointers = {**self.remembered, name: pointer}
            # Remember first: a crash in between restarts on the version that was decided anyway.
            content = {key: value.model_dump(mode="json") for key, value in pointers.items()}
            write_json(self._root / POINTERS, content)
            self.remembered = pointers
            self._models[name] = model
            self.problems.pop(name, None)
            self._drop_old_copies(name, pointer.digest)
        logger.info("%s now serves version %d (epoch %d)", name, *_place(pointer))
        return True

    def _bring(self, name: str, bundle: str, digest: str) -> Path:
        """The server's own copy of a bundle, every byte verified."""
        target = self._copy_folder(name, digest)
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

    def _verify(self, folder: Path, digest: str) -> Manifest:
        return verify_signed(folder, digest=digest, public_key=self._public_key)

    def _source(self, bundle: str) -> Path:
        try:
            return resolve_inside(self._bundles_root, bundle)
        except (ValueError, OSError) as error:
            raise SpecError(
                "the bundle is not below the bundle folder of this server",
                remedy="Name a bundle that `package` wrote.",
            ) from error

    def _copy_folder(self, name: str, digest: str) -> Path:
        return self._root / "models" / name / digest

    def _drop_old_copies(self, name: str, current: str) -> None:
        copies = [entry for entry in (self._root / "models" / name).iterdir() if entry.is_dir()]
        copies.sort(key=lambda entry: entry.stat().st_mtime, reverse=True)
        for copy in [entry for entry in copies if entry.name != current][_KEEP_COPIES:]:
            shutil.rmtree(copy, ignore_errors=True)

    def _read_pointers(self) -> dict[str, Pointer]:
        file = self._root / POINTERS
        if not file.is_file():
            return {}
        try:
            return _POINTERS.validate_python(read_json(file))
        except ValueError as error:
            raise IntegrityBroken(
                f"{file} cannot be read: {error}",
                remedy="Remove it and run `ferryman reconcile`: the ledger knows what to serve.",
            ) from error


def _identity(name: str, pointer: Pointer) -> Identity:
    return Identity(name, pointer.version, pointer.epoch, pointer.digest)


def _place(pointer: Pointer) -> tuple[int, int]:
    return pointer.version, pointer.epoch
