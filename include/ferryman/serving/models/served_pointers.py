"""served.json: which version of each model a server serves, remembered across restarts."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from ferryman.errors import IntegrityBroken, Superseded
from ferryman.runtime.files import read_json, write_json

POINTERS = "served.json"


class Pointer(BaseModel):
    """A released version of a model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: int = Field(ge=1)
    epoch: int = Field(ge=1)
    digest: str = Field(pattern=r"^[0-9a-f]{64}$")


class _Remembered(Pointer):
    """What a model serves, and what it served before."""

    previous: Pointer | None = None


_REMEMBERED = TypeAdapter(dict[str, _Remembered])


class Pointers:
    """What is served now, and what was before, by model."""

    def __init__(
        self,
        served: Mapping[str, Pointer] | None = None,
        previous: Mapping[str, Pointer] | None = None,
    ) -> None:
        self.served: dict[str, Pointer] = dict(served or {})
        self.previous: dict[str, Pointer] = dict(previous or {})

    def with_model(self, name: str, pointer: Pointer) -> "Pointers":
        """These, with a model at another version; the one it leaves becomes its previous one."""
        previous = dict(self.previous)
        left = self.served.get(name)
        if left is not None and left.digest != pointer.digest:
            previous[name] = left
        return Pointers({**self.served, name: pointer}, previous)


def write_pointers(root: Path, pointers: Pointers) -> None:
    """Write them whole or not at all."""
    content: dict[str, Any] = {}
    for name, pointer in pointers.served.items():
        content[name] = pointer.model_dump(mode="json")
        if name in pointers.previous:
            content[name]["previous"] = pointers.previous[name].model_dump(mode="json")
    write_json(root / POINTERS, content)


def read_pointers(root: Path) -> Pointers:
    """What is remembered, empty before the first load; IntegrityBroken (exit 7) when damaged."""
    file = root / POINTERS
    if not file.is_file():
        return Pointers()
    try:
        found = _REMEMBERED.validate_python(read_json(file))
    except ValueError as error:
        raise IntegrityBroken(
            f"{file} cannot be read: {error}",
            remedy="Remove it and run `ferryman reconcile`: the ledger knows what to serve.",
        ) from error
    served = {
        name: Pointer(version=entry.version, epoch=entry.epoch, digest=entry.digest)
        for name, entry in found.items()
    }
    previous = {name: entry.previous for name, entry in found.items() if entry.previous is not None}
    return Pointers(served, previous)


def refuse_older(name: str, known: Pointer | None, pointer: Pointer) -> None:
    """Epochs only rise: Superseded (exit 5) for one at or below the one that is served."""
    if known is not None and known != pointer and pointer.epoch <= known.epoch:
        raise Superseded(
            f"{name} serves epoch {known.epoch} (version {known.version}); "
            f"epoch {pointer.epoch} is refused"
        )
