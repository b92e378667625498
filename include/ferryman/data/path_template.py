"""Paths with {year}, {month} and {day}: which files a span of days touches, and the oldest one."""

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

from ferryman.errors import PolicyRefused
from ferryman.runtime.files import resolve_inside
from ferryman.spec.windows import Window, day_window

_DIGITS = {"year": "[0-9]{4}", "month": "[0-9]{2}", "day": "[0-9]{2}"}
_PLACEHOLDER = re.compile(r"{(year|month|day)}")


class PathTemplate:
    """A declared path below a root."""

    def __init__(self, root: Path, template: str) -> None:
        self._root = root
        self._template = template

    def paths(self, span: Window) -> list[str]:
        """The relative paths of the days that a span touches, oldest first, each once."""
        moments = dict.fromkeys(self._fill(day) for day in _days(span))
        return list(moments)

    def resolve(self, relative: str) -> Path:
        """The path on disk; PolicyRefused (exit 9) where a symlink leads out of the root."""
        try:
            return resolve_inside(self._root, relative)
        except ValueError as error:
            raise PolicyRefused(
                f"{error}: data is read below the source root only",
                remedy="Put the file itself there, not a link.",
            ) from error

    def is_before_first(self, relative: str) -> bool:
        """Whether a missing file is older than every one that is there: the data had not begun."""
        asked = self._moment(relative)
        fixed = self._template[: self._template.find("{")].rpartition("/")[0]
        names = (
            file.relative_to(self._root).as_posix()
            for file in (self._root / fixed).rglob(f"*{Path(relative).suffix}")
        )
        there = [moment for name in names if (moment := self._moment(name)) is not None]
        return asked is not None and all(asked < moment for moment in there)

    def _fill(self, day: Window) -> str:
        start = day.start
        parts = {"year": f"{start:%Y}", "month": f"{start:%m}", "day": f"{start:%d}"}
        return _PLACEHOLDER.sub(lambda match: parts[match.group(1)], self._template)

    def _moment(self, relative: str) -> tuple[str, ...] | None:
        """(year, month, day) as far as the path tells them; None for a path of another form."""
        pattern, seen = "", set()
        for piece in re.split(r"({.*?})", self._template):
            name = piece.strip("{}")
            if piece.startswith("{"):
                pattern += f"(?P={name})" if name in seen else f"(?P<{name}>{_DIGITS[name]})"
                seen.add(name)
            else:
                pattern += re.escape(piece)
        match = re.fullmatch(pattern, relative)
        if match is None or not seen:
            return None
        return tuple(match[name] for name in ("year", "month", "day") if name in seen)


def _days(span: Window) -> Iterator[Window]:
    day = day_window(span.start)
    while day.start < span.end:
        yield day
        day = day.shifted(timedelta(days=1))
