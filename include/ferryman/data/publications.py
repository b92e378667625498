"""Publications: which snapshot the readers of a window get, now and before.

<model>/windows/<window>/<n>.json, n = 1, 2, ...; each is created once, so that of two who publish
at once one gets the number and the other looks again. Nothing is overwritten and no lock is held.
"""

import secrets
from collections.abc import Callable
from datetime import UTC, datetime

from pydantic import AwareDatetime, Field, ValidationError

from ferryman.data.catalogue_entry import Record
from ferryman.errors import IntegrityBroken, SpecError
from ferryman.runtime.files import json_bytes
from ferryman.runtime.object_store import ObjectStore
from ferryman.spec.windows import Window, day_window

_KEY_FORM = "%Y%m%dT%H%MZ"


class Publication(Record):
    """One move of a window: to which snapshot, from which, why and when.

    `id` is null where the window was retired: it has no readers any more.
    """

    id: str | None
    parent: str | None
    reason: str
    change: str = Field(default="", description="What differs from the parent, told by the facts.")
    actor: str = ""
    at: AwareDatetime
    nonce: str = Field(
        default_factory=lambda: secrets.token_hex(8),
        description="Makes equal publications differ: who wrote this one can tell that it did.",
    )


def window_key(window: Window) -> str:
    """The name of a window's folder; SpecError (exit 2) where it is no whole day."""
    if window != day_window(window.start):
        raise SpecError(f"window {window} is not one day", remedy="Give whole days, UTC.")
    return window.key


class Publications:
    """The windows of all models."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects

    def append(
        self, model: str, window: Window, make: Callable[[Publication | None], Publication | None]
    ) -> Publication | None:
        """Add what `make` says to the last publication; None from it leaves all as it is.

        `make` is asked again where another writer was quicker. The last publication comes back.
        """
        while True:
            count = self.count(model, window)
            last = self._read(model, window, count) if count else None
            made = make(last)
            if made is None:
                return last
            content = json_bytes(made.model_dump(mode="json"))
            if self._objects.create(self._key(model, window, count + 1), content):
                return made

    def current(self, model: str, window: Window) -> Publication | None:
        """The last publication, or None where there is none or the window was retired."""
        count = self.count(model, window)
        last = self._read(model, window, count) if count else None
        return last if last is not None and last.id is not None else None

    def history(self, model: str, window: Window) -> list[Publication]:
        """Every publication of a window, oldest first."""
        count = self.count(model, window)
        return [self._read(model, window, number) for number in range(1, count + 1)]

    def count(self, model: str, window: Window) -> int:
        """How many publications a window has, found by asking for them, not by a listing.

        They are numbered without a gap and stay for ever: double the step, then halve the span.
        """
        low, high = 0, 1
        while self._is_there(model, window, high):
            low, high = high, high * 2
        while high - low > 1:
            middle = (low + high) // 2
            if self._is_there(model, window, middle):
                low = middle
            else:
                high = middle
        return low

    def windows(self, model: str) -> list[Window]:
        """Every window that was ever published, oldest first; by a listing, so for showing."""
        names = {key.split("/")[2] for key in self._objects.keys(f"{model}/windows")}
        windows = [_parse_key(name) for name in sorted(names)]
        return [window for window in windows if window is not None]

    def _is_there(self, model: str, window: Window, number: int) -> bool:
        return self._objects.size(self._key(model, window, number)) is not None

    def _read(self, model: str, window: Window, number: int) -> Publication:
        key = self._key(model, window, number)
        content = self._objects.read(key)
        try:
            return Publication.model_validate_json(content or b"")
        except ValidationError as error:
            raise IntegrityBroken(
                f"{self._objects.uri(key)}: not a publication: {str(error)[:300]}",
                remedy="Restore the object from a copy; it was written whole and never changed.",
            ) from error

    def _key(self, model: str, window: Window, number: int) -> str:
        return f"{model}/windows/{window_key(window)}/{number}.json"


def _parse_key(name: str) -> Window | None:
    try:
        start = datetime.strptime(name, _KEY_FORM).replace(tzinfo=UTC)
    except ValueError:
        return None
    return day_window(start)


def days_touching(span: Window) -> list[Window]:
    """The days, UTC, that a span touches, oldest first."""
    last = day_window(span.end)
    end = last.start if last.start == span.end else last.end
    return list(Window(start=day_window(span.start).start, end=end).days())
