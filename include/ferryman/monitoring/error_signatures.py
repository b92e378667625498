"""Which errors there were: events with the same words are one error, told by version.

Numbers, ids, paths, addresses and what is quoted differ from event to event and are masked; the
innermost frame of our own code tells two errors of the same words apart.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from ferryman.runtime.log_masks import without_secrets, without_values

NO_VERSION = "-"
OTHERS = "(other errors)"
MOST_SIGNATURES = 2_000
_LONGEST = 300  # characters of a signature, and of an example
# An event of another level is not even parsed: most lines of a log are no errors.
_LEVELS = (b'"level": "ERROR"', b'"level": "WARNING"', b'"level": "CRITICAL"',
           b'"level":"ERROR"', b'"level":"WARNING"', b'"level":"CRITICAL"')  # fmt: skip
_LONGEST_LINE = 100_000


@dataclass(frozen=True)
class ErrorEvent:
    """One error: when (aware), whose, what it said, and where in our code."""

    at: datetime
    level: str
    message: str
    model: str = ""
    version: str = NO_VERSION
    where: str = ""
    count: int = 1


@dataclass
class Signature:
    """Errors of the same words: how often by version, when first and last, and one of them."""

    text: str
    where: str
    level: str
    example: str
    first: datetime
    last: datetime
    versions: Counter[str] = field(default_factory=Counter)

    @property
    def count(self) -> int:
        """How often in all."""
        return self.versions.total()

    def add(self, event: ErrorEvent) -> None:
        """Count one more."""
        self.versions[event.version] += event.count
        self.first, self.last = min(self.first, event.at), max(self.last, event.at)

    def as_json(self) -> dict[str, Any]:
        """All of it, for a report."""
        return {
            "signature": self.text,
            "where": self.where,
            "level": self.level,
            "count": self.count,
            "versions": dict(self.versions),
            "first": self.first.isoformat(),
            "last": self.last.isoformat(),
            "example": self.example,
        }


class ErrorGroups:
    """Signatures with their counts, in bounded memory: what is too many is counted as others."""

    def __init__(self, *, most: int = MOST_SIGNATURES) -> None:
        self._most = most
        self._found: dict[tuple[str, str], Signature] = {}

    def add(self, event: ErrorEvent) -> None:
        """Count one event."""
        key = (_masked(event.message), event.where)
        if key not in self._found and len(self._found) >= self._most:
            key = (OTHERS, "")
        known = self._found.get(key)
        if known is None:
            example = without_secrets(event.message)[:_LONGEST]
            text, where = key
            known = Signature(text, where, event.level, example, event.at, event.at)
            self._found[key] = known
        known.add(event)

    def top(self, most: int) -> list[Signature]:
        """The most frequent, the newest first of equally frequent ones."""
        found = sorted(self._found.values(), key=lambda one: one.last, reverse=True)
        return sorted(found, key=lambda one: one.count, reverse=True)[:most]

    def new_in(self, version: str) -> list[Signature]:
        """Errors that no other version has had: what came with this one."""
        return [one for one in self.top(len(self._found)) if set(one.versions) == {version}]

    def versions(self) -> list[str]:
        """The versions that had errors, oldest first."""
        named = {name for one in self._found.values() for name in one.versions} - {NO_VERSION}
        return sorted(named, key=lambda name: (not name.isdecimal(), name.zfill(20)))


def logged_errors(
    lines: Iterable[bytes],
    *,
    model: str = "",
    since: datetime | None = None,
    until: datetime | None = None,
) -> Iterator[ErrorEvent]:
    """The errors and warnings of a JSON log, one line at a time; what is no event is left out.

    With a `model`, events of other models are left out; those that name none stay: a server that
    dies belongs to all. `since` and `until` are aware.
    """
    first = since.astimezone(UTC).isoformat(timespec="milliseconds") if since else ""
    end = until.astimezone(UTC).isoformat(timespec="milliseconds") if until else "9999"
    for line in lines:
        if not any(level in line for level in _LEVELS) or len(line) > _LONGEST_LINE:
            continue
        try:
            told = json.loads(line)
            at = str(told["time"])
            if not first <= at < end or (model and str(told.get("model") or model) != model):
                continue
            yield _event(told, at)
        except (ValueError, KeyError, TypeError, AttributeError):
            continue  # half a line, or the line of another program


def first_time(lines: Iterable[bytes]) -> datetime | None:
    """When the first event of a JSON log was, aware; None where no line tells it."""
    for line in lines:
        try:
            moment = datetime.fromisoformat(str(json.loads(line)["time"]))
        except (ValueError, KeyError, TypeError):
            continue
        if moment.tzinfo is not None:
            return moment
    return None


def told_errors(groups: ErrorGroups, most: int) -> dict[str, Any]:
    """The most frequent errors and those that only the newest version has, for a report."""
    versions = groups.versions()
    newest = versions[-1] if versions else None
    new: Sequence[Signature] = groups.new_in(newest) if len(versions) > 1 and newest else ()
    return {
        "top": [one.as_json() for one in groups.top(most)],
        "newest_version": newest,
        "only_in_newest": [one.as_json() for one in new[:most]],
    }


def _event(told: dict[str, Any], at: str) -> ErrorEvent:
    version, left_out = told.get("version"), told.get("suppressed", 0)
    status = f"status {told['status']}" if "status" in told else ""
    moment = datetime.fromisoformat(at)
    if moment.tzinfo is None:
        raise ValueError(f"{at} has no time zone")
    return ErrorEvent(
        at=moment,
        level=str(told["level"]),
        message=str(told["message"]),
        model=str(told.get("model") or ""),
        version=NO_VERSION if version is None else str(version),
        where=str(told.get("where") or status),
        count=max(1, left_out) if isinstance(left_out, int) else 1,
    )


@lru_cache(maxsize=4096)
def _masked(message: str) -> str:
    return without_values(message)[:_LONGEST]
