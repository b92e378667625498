"""The models that a replica serves: loaded beside, verified, then swapped by one reference."""

import logging
import threading
from pathlib import Path

from ferryman.errors import FerrymanError, Superseded
from ferryman.serving.models.labels import CHAMPION, PREVIOUS
from ferryman.serving.models.model_copies import ModelCopies
from ferryman.serving.models.onnx_model import Identity, OnnxModel, open_verified
from ferryman.serving.models.served_pointers import (
    Pointer,
    Pointers,
    read_pointers,
)

logger = logging.getLogger(__name__)


class ServedModels:
    """Models by name. `get` is safe without a lock: loading builds beside and swaps a reference.

    `root` is the server's own state. The version that a model leaves is kept warm.
    """

    def __init__(
        self,
        root: Path,
        public_key: Path | None = None,
        threads: int = 1,
    ) -> None:
        self._root = root
        self._copies = ModelCopies(root, public_key=public_key)
        self._threads = threads
        self._lock = threading.Lock()
        self._models: dict[str, OnnxModel] = {}
        self._previous: dict[str, OnnxModel] = {}
        self._prepared: dict[str, OnnxModel] = {}
        self._pointers = Pointers()
        self.problems: dict[str, str] = {}
        self.restored = False

    @property
    def remembered(self) -> dict[str, Pointer]:
        """What is to be served, loaded or not."""
        return self._pointers.served

    def get(self, name: str, version: int | None = None, label: str = "") -> OnnxModel | None:
        """A loaded model: the one that is served, or by version, or by label."""
        model = self._models.get(name)
        if version is None and not label:
            return model
        if label:
            return {CHAMPION: model, PREVIOUS: self._previous.get(name)}.get(label)
        for loaded in (model, self._previous.get(name)):
            if loaded is not None and loaded.identity.version == version:
                return loaded
        return None

    def versions(self, name: str) -> dict[str, OnnxModel]:
        """Every loaded version of a model by its label, the served one first."""
        found = {CHAMPION: self._models.get(name), PREVIOUS: self._previous.get(name)}
        return {label: model for label, model in found.items() if model is not None}

    @property
    def loaded(self) -> list[OnnxModel]:
        """Every model that is served."""
        return list(self._models.values())

    @property
    def is_ready(self) -> bool:
        """Whether every remembered model is loaded; with none remembered a server is ready too."""
        return self.restored and self.remembered.keys() <= self._models.keys()

    def recall(self) -> None:
        """Read what is to be served; IntegrityBroken (exit 7) when that file is damaged."""
        self._pointers = read_pointers(self._root)

    def restore(self) -> None:
        """Load every remembered model from the server's own verified copies; it needs no registry.

        A model that cannot be loaded stays away, with its reason in `problems`; the others serve.
        """
        with self._lock:
            self.recall()
            for name, pointer in self.remembered.items():
                try:
                    self._models[name] = self._open(name, pointer)
                    logger.info("%s version %d (epoch %d) restored", name, *_place(pointer))
                except (FerrymanError, OSError, ValueError) as error:
                    self.problems[name] = str(error)
                    logger.error("%s cannot be restored: %s", name, error)
            self.restored = True
            for name, pointer in self._pointers.previous.items():
                try:
                    self._previous[name] = self._open(name, pointer)
                except (FerrymanError, OSError, ValueError) as error:
                    logger.warning("%s: the previous version is not warm: %s", name, error)

    def prepare(self, name: str, pointer: Pointer) -> None:
        """Load a version from its verified copy and replay its golden rows; nothing changes yet.

        Raises IntegrityBroken (exit 7) for a wrong digest, a wrong model or a wrong answer.
        """
        with self._lock:
            self._prepared.pop(name, None)
            current = self._models.get(name)
            if current is None or current.identity != _identity(name, pointer):
                self._prepared[name] = self._open(name, pointer)

    def swap(self, name: str, pointer: Pointer) -> None:
        """Serve what was prepared from now on."""
        with self._lock:
            model = self._prepared.pop(name, None)
            left = self._models.get(name)
            self._pointers = self._pointers.with_model(name, pointer)
            self.problems.pop(name, None)
            if model is None or model.identity != _identity(name, pointer):
                if left is None or left.identity != _identity(name, pointer):
                    raise Superseded(f"{name} version {pointer.version} was not prepared here")
                return
            self._models[name] = model
            if left is not None and left.identity.digest != pointer.digest:
                self._previous[name] = left
        logger.info("%s now serves version %d (epoch %d)", name, *_place(pointer))

    def discard(self, name: str) -> None:
        """Let go of what was prepared and is not wanted."""
        with self._lock:
            self._prepared.pop(name, None)

    def open_candidate(self, name: str, version: int, epoch: int, digest: str) -> OnnxModel:
        """A version from its verified copy, as `prepare` loads it; nobody is served by it.

        `epoch` is that of the version it stands beside. Raises IntegrityBroken (exit 7).
        """
        folder = self._copies.verified(name, digest)
        return open_verified(folder, Identity(name, version, epoch, digest), threads=self._threads)

    def _open(self, name: str, pointer: Pointer) -> OnnxModel:
        folder = self._copies.verified(name, pointer.digest)
        return open_verified(folder, _identity(name, pointer), threads=self._threads)


def _identity(name: str, pointer: Pointer) -> Identity:
    return Identity(name, pointer.version, pointer.epoch, pointer.digest)


def _place(pointer: Pointer) -> tuple[int, int]:
    return pointer.version, pointer.epoch
