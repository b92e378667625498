"""Served models without a front: what a front and its replica do, one after the other."""

from pathlib import Path

from ferryman.serving.models.model_copies import ModelCopies
from ferryman.serving.models.served_models import ServedModels
from ferryman.serving.models.served_pointers import (
    Pointer,
    read_pointers,
    refuse_older,
    write_pointers,
)


class ServedHere(ServedModels):
    """Brings bundles from a root by itself."""

    def __init__(self, root: Path, bundles_root: Path) -> None:
        super().__init__(root)
        self.root = root
        self.copies = ModelCopies(root, bundles_root)

    def check(self, name: str, bundle: str, digest: str) -> None:
        """Bring a candidate, and replay its golden rows."""
        self.copies.bring(name, bundle, digest)
        self.open_candidate(name, 0, 0, digest)

    def load(self, name: str, pointer: Pointer, bundle: str) -> bool:
        """Bring, prepare, remember and swap; False when it is served already."""
        if self.remembered.get(name) == pointer and self.get(name) is not None:
            return False
        refuse_older(name, self.remembered.get(name), pointer)
        self.copies.bring(name, bundle, pointer.digest)
        self.prepare(name, pointer)
        write_pointers(self.root, read_pointers(self.root).with_model(name, pointer))
        self.swap(name, pointer)
        return True
