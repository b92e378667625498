"""Pins: names for versions that must stay, with who, why, and whether a legal hold is on them.

<model>/pins/<name>/<n>.json, n = 1, 2, ...; the highest says what the name stands for.
"""

import re
import secrets
from datetime import UTC, datetime

from pydantic import AwareDatetime, Field

from ferryman.data.versions.catalogue_entry import Record
from ferryman.data.versions.marks import Marks
from ferryman.data.versions.numbered import NumberedRecords
from ferryman.errors import PolicyRefused, SpecError
from ferryman.runtime.object_store import ObjectStore

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")


class Pin(Record):
    """What a name stands for; `version` is null where the pin was released."""

    name: str
    version: str | None = Field(description="Id of a snapshot or of a dataset version.")
    hold: bool = Field(default=False, description="A legal hold.")
    reason: str
    actor: str
    at: AwareDatetime
    nonce: str = Field(default_factory=lambda: secrets.token_hex(8))


class Pins:
    """The pins of all models in one place."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects
        self._records = NumberedRecords(objects, Pin)
        self._marks = Marks(objects)

    def pin(  # noqa: PLR0913 - the rest say who and why, by keyword
        self, model: str, name: str, version: str, *, reason: str, actor: str, hold: bool = False
    ) -> Pin:
        """Let a name stand for a version from now on; the same again is no change.

        Raises PolicyRefused (exit 9) where the name holds another version by law: that must be
        released first. The caller has seen that the version exists.
        """
        _check(name, reason)
        self._marks.use(model, version)

        def move(last: Pin | None) -> Pin | None:
            if last is not None and (last.version, last.hold) == (version, hold):
                return None
            if last is not None and last.hold and last.version is not None:
                raise PolicyRefused(
                    f"{name!r} is a legal hold on {last.version[:16]} ({last.reason})",
                    remedy="Choose another name, or release the hold first.",
                )
            now = datetime.now(UTC)
            return Pin(name=name, version=version, hold=hold, reason=reason, actor=actor, at=now)

        made = self._records.append(_folder(model, name), move)
        if made is None:
            raise SpecError(f"no pin {name!r}")
        return made

    def release(self, model: str, name: str, *, reason: str, actor: str) -> Pin:
        """End a pin or a hold; SpecError (exit 2) where there is none of that name."""
        _check(name, reason)

        def end(last: Pin | None) -> Pin | None:
            if last is None or last.version is None:
                return None
            now = datetime.now(UTC)
            return Pin(name=name, version=None, reason=reason, actor=actor, at=now)

        before = self._records.last(_folder(model, name))
        ended = self._records.append(_folder(model, name), end)
        if ended is None or before is None:
            raise SpecError(
                f"{model!r} has no pin {name!r}",
                remedy=f"`ferryman data list --model {model}` shows the pins.",
            )
        return ended

    def get(self, model: str, name: str) -> Pin | None:
        """What a name stands for, or None where it stands for nothing."""
        if not _NAME.fullmatch(name):
            return None
        last = self._records.last(_folder(model, name))
        return last if last is not None and last.version is not None else None

    def all(self, model: str) -> list[Pin]:
        """The pins that are not released, by name; the names come from a listing."""
        names = sorted({key.split("/")[2] for key in self._objects.keys(f"{model}/pins")})
        found = (self.get(model, name) for name in names)
        return [pin for pin in found if pin is not None]

    def history(self, model: str, name: str) -> list[Pin]:
        """Everything that a name ever stood for, oldest first."""
        return self._records.history(_folder(model, name))


def _check(name: str, reason: str) -> None:
    if not _NAME.fullmatch(name):
        raise SpecError(
            f"{name[:80]!r} cannot be the name of a pin",
            remedy="Up to 63 lower-case letters, digits, '-' and '_', such as audit-2026.",
        )
    if not reason.strip() or len(reason) > 500:
        raise SpecError("a pin needs a reason of 1 to 500 characters", remedy="Give --reason TEXT.")


def _folder(model: str, name: str) -> str:
    return f"{model}/pins/{name}"
