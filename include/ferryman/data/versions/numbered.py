"""Records that are only ever added: <folder>/<n>.json, n = 1, 2, ..., each created once.

Of two who add at once one gets the number and the other looks again. Nothing is overwritten, and
no lock is held.
"""

from collections.abc import Callable
from typing import Generic, TypeVar

from pydantic import BaseModel, ValidationError

from ferryman.errors import IntegrityBroken
from ferryman.runtime.files import json_bytes
from ferryman.runtime.object_store import ObjectStore

_Kind = TypeVar("_Kind", bound=BaseModel)


class NumberedRecords(Generic[_Kind]):
    """The records of one kind. Two equal ones must differ somewhere, such as in a nonce."""

    def __init__(self, objects: ObjectStore, kind: type[_Kind]) -> None:
        self._objects = objects
        self._kind = kind

    def append(self, folder: str, make: Callable[[_Kind | None], _Kind | None]) -> _Kind | None:
        """Add what `make` says to the last record; None from it leaves all as it is.

        `make` is asked again where another writer was quicker. The last record comes back.
        """
        while True:
            count = self.count(folder)
            last = self._read(folder, count) if count else None
            made = make(last)
            if made is None:
                return last
            content = json_bytes(made.model_dump(mode="json"))
            if self._objects.create(f"{folder}/{count + 1}.json", content):
                return made

    def last(self, folder: str) -> _Kind | None:
        """The record with the highest number, or None."""
        count = self.count(folder)
        return self._read(folder, count) if count else None

    def history(self, folder: str) -> list[_Kind]:
        """Every record, oldest first."""
        return [self._read(folder, number) for number in range(1, self.count(folder) + 1)]

    def count(self, folder: str) -> int:
        """How many records there are, found by asking for them, not by a listing.

        They are numbered without a gap and stay for ever: double the step, then halve the span.
        """
        low, high = 0, 1
        while self._is_there(folder, high):
            low, high = high, high * 2
        while high - low > 1:
            middle = (low + high) // 2
            if self._is_there(folder, middle):
                low = middle
            else:
                high = middle
        return low

    def _is_there(self, folder: str, number: int) -> bool:
        return self._objects.size(f"{folder}/{number}.json") is not None

    def _read(self, folder: str, number: int) -> _Kind:
        key = f"{folder}/{number}.json"
        content = self._objects.read(key)
        try:
            return self._kind.model_validate_json(content or b"")
        except ValidationError as error:
            raise IntegrityBroken(
                f"{self._objects.uri(key)}: not readable: {str(error)[:300]}",
                remedy="Restore the object from a copy; it was written whole and never changed.",
            ) from error
