"""The manifest that may come with a file: `<file>.manifest.json`, with bytes, sha256 and rows."""

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ferryman.data.sources.delivery import Delivery
from ferryman.errors import DataRejected

SUFFIX = ".manifest.json"
_LARGEST = 64 << 10
_AGAIN = "The delivery is not complete: fetch the file again, then run the window again."


class Manifest(BaseModel):
    """What the sender says of a file; bytes and sha256 are of the file as it is sent, packed."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    bytes: int | None = Field(default=None, ge=0)
    sha256: str | None = Field(default=None, pattern="^[0-9a-fA-F]{64}$")
    rows: int | None = Field(default=None, ge=0)

    @property
    def vouches(self) -> bool:
        """Whether it says anything."""
        return bool(self.model_fields_set)

    def compare(self, shown: str, found: Mapping[str, object]) -> None:
        """Raise DataRejected (exit 3) where what was found is not what is said."""
        said = self.model_dump(exclude_none=True)
        for key, value in found.items():
            expected = said[key].lower() if isinstance(said.get(key), str) else said.get(key)
            if expected is not None and expected != value:
                raise DataRejected(
                    f"{shown}: {key} is {value}, its manifest says {expected}", remedy=_AGAIN
                )


def read_manifest(delivery: Delivery, *, required: bool) -> Manifest:
    """The manifest beside a file; an empty one where there is none and none is required.

    Raises DataRejected (exit 3) for one that is missing or cannot be understood.
    """
    sidecar = Delivery(delivery.store, delivery.key + SUFFIX)
    size = sidecar.store.size(sidecar.key)
    if size is None and not required:
        return Manifest()
    if size is None:
        raise DataRejected(
            f"{delivery.shown}: no manifest {sidecar.key.rpartition('/')[2]} beside it",
            remedy="Deliver it (bytes, sha256, rows), or declare `manifest: optional`.",
        )
    if size > _LARGEST:
        raise DataRejected(f"{sidecar.shown}: {size} bytes are no manifest")
    with sidecar.opened() as stream:
        content = stream.read()
    try:
        manifest = Manifest.model_validate_json(content)
    except ValidationError as error:
        raise DataRejected(
            f"{sidecar.shown}: {_mistakes(error)}",
            remedy="A manifest is one JSON object: bytes and rows are numbers, sha256 is text.",
        ) from error
    if required and not manifest.vouches:
        raise DataRejected(f"{sidecar.shown}: holds none of bytes, sha256 and rows")
    return manifest


def _mistakes(error: ValidationError) -> str:
    texts = []
    for detail in error.errors(include_url=False, include_input=False)[:3]:
        name = ".".join(str(part) for part in detail["loc"])[:60]
        if detail["type"] == "extra_forbidden":
            texts.append(f"holds another key than bytes, sha256, rows: {name!r}")
        elif detail["type"] == "json_invalid":
            texts.append(f"not JSON: {detail['msg'][:120]}")
        else:
            texts.append(f"{name!r}: {detail['msg'][:120]}" if name else detail["msg"][:120])
    return "; ".join(texts)
