"""Paths with {year}, {month}, {day} and `*`: which files a span touches, and the oldest moment."""

import re
from collections.abc import Iterator
from datetime import timedelta

from ferryman.runtime.object_store import ObjectStore
from ferryman.spec.windows import Window, day_window

_DIGITS = {"year": "[0-9]{4}", "month": "[0-9]{2}", "day": "[0-9]{2}"}
_PIECE = re.compile(r"{(year|month|day)}|(\*)")


class PathTemplate:
    """A declared path below the root of a store."""

    def __init__(self, store: ObjectStore, template: str) -> None:
        self._store = store
        self._template = template

    @property
    def is_dated(self) -> bool:
        """Whether the path says of what time its files are."""
        return "{" in self._template

    def paths(self, span: Window | None) -> list[str]:
        """The paths of the days that a span touches, oldest first, each once; `*` may be in them.

        Without a span, or a date in the path, the template itself.
        """
        if span is None or not self.is_dated:
            return [self._template]
        return list(dict.fromkeys(self._fill(day) for day in _days(span)))

    def present(self, path: str) -> list[str]:
        """The files that a path of `paths` stands for, in the order of their names.

        Only where it has a `*` or a date left is the place asked for a list.
        """
        if not re.search(r"[{*]", path):
            return [path] if self._store.size(path) is not None else []
        pattern = re.compile(_pattern(path))
        return sorted(key for key in self._store.keys(_fixed(path)) if pattern.fullmatch(key))

    def is_before_first(self, path: str) -> bool:
        """Whether a missing path is older than every file there: the data had not begun."""
        # A `*` fits its own pattern, so a path with one tells its moment as a file does.
        asked = self._moment(path)
        keys = self._store.keys(_fixed(self._template))
        there = [moment for key in keys if (moment := self._moment(key)) is not None]
        return asked is not None and all(asked < moment for moment in there)

    def _fill(self, day: Window) -> str:
        start = day.start
        parts = {"year": f"{start:%Y}", "month": f"{start:%m}", "day": f"{start:%d}", None: "*"}
        return _PIECE.sub(lambda match: parts[match.group(1)], self._template)

    def _moment(self, path: str) -> tuple[str, ...] | None:
        """(year, month, day) as far as the path tells them; None for a path of another form."""
        match = re.fullmatch(_pattern(self._template), path)
        if match is None:
            return None
        found = match.groupdict()
        return tuple(found[name] for name in ("year", "month", "day") if name in found)


def _pattern(template: str) -> str:
    """The template as a regular expression with groups year, month and day."""
    pattern, place, seen = "", 0, set()
    for piece in _PIECE.finditer(template):
        pattern += re.escape(template[place : piece.start()])
        place, name = piece.end(), piece.group(1)
        if name is None:
            pattern += "[^/]*"
        elif name in seen:
            pattern += f"(?P={name})"
        else:
            pattern += f"(?P<{name}>{_DIGITS[name]})"
            seen.add(name)
    return pattern + re.escape(template[place:])


def _fixed(path: str) -> str:
    """The folder that everything of a path lies in."""
    return re.split(r"[{*]", path, maxsplit=1)[0].rpartition("/")[0]


def _days(span: Window) -> Iterator[Window]:
    day = day_window(span.start)
    while day.start < span.end:
        yield day
        day = day.shifted(timedelta(days=1))
