"""Publications: which snapshot the readers of a window get, now and before.

<model>/windows/<window>/<n>.json, n = 1, 2, ...; the highest is the current one.
"""

import secrets
from collections.abc import Callable
from datetime import UTC, datetime

from pydantic import AwareDatetime, Field

from ferryman.data.versions.catalogue_entry import Record
from ferryman.data.versions.numbered import NumberedRecords
from ferryman.errors import SpecError
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
        self._records = NumberedRecords(objects, Publication)

    def append(
        self, model: str, window: Window, make: Callable[[Publication | None], Publication | None]
    ) -> Publication | None:
        """Add what `make` says to the last publication; see NumberedRecords.append."""
        return self._records.append(_folder(model, window), make)

    def current(self, model: str, window: Window) -> Publication | None:
        """The last publication, or None where there is none or the window was retired."""
        last = self._records.last(_folder(model, window))
        return last if last is not None and last.id is not None else None

    def history(self, model: str, window: Window) -> list[Publication]:
        """Every publication of a window, oldest first."""
        return self._records.history(_folder(model, window))

    def count(self, model: str, window: Window) -> int:
        """How many publications a window has."""
        return self._records.count(_folder(model, window))

    def windows(self, model: str) -> list[Window]:
        """Every window that was ever published, oldest first; by a listing, so for showing."""
        names = {key.split("/")[2] for key in self._objects.keys(f"{model}/windows")}
        windows = [_parse_key(name) for name in sorted(names)]
        return [window for window in windows if window is not None]


def _folder(model: str, window: Window) -> str:
    return f"{model}/windows/{window_key(window)}"


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
