"""Errors of the same words are one error; of a log only its errors are read, in bounded memory."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from ferryman.monitoring.error_signatures import (
    OTHERS,
    ErrorEvent,
    ErrorGroups,
    logged_errors,
    told_errors,
)

START = datetime(2026, 3, 1, 12, tzinfo=UTC)


def line(message: str, minutes: float = 0, level: str = "ERROR", **more: Any) -> bytes:
    at = (START + timedelta(minutes=minutes)).isoformat(timespec="milliseconds")
    return json.dumps({"time": at, "level": level, "message": message, **more}).encode() + b"\n"


def grouped(*lines: bytes, **wanted: Any) -> ErrorGroups:
    groups = ErrorGroups()
    for event in logged_errors(lines, **wanted):
        groups.add(event)
    return groups


def test_events_that_differ_in_values_are_one_error() -> None:
    groups = grouped(
        line("row 3: distance: 'abc' is no number", 1, version=6),
        line("row 14: distance: 'x y' is no number", 3, version=7),
        line("row 5: distance: '' is no number", 2, version=7),
        line("the disk is full", version=7, where="log/writer.py:write"),
        line("the disk is full", version=7, status=500),
    )
    first, *others = groups.top(10)
    assert first.text == "row N: distance: '…' is no number"
    assert (first.count, dict(first.versions)) == (3, {"6": 1, "7": 2})
    assert (first.first, first.last) == (START + timedelta(minutes=1), START + timedelta(minutes=3))
    assert {one.where for one in others} == {"log/writer.py:write", "status 500"}


def test_what_came_with_the_newest_version_is_named() -> None:
    known = line("old trouble", version=9, level="WARNING")
    told = told_errors(grouped(known, line("old trouble", version=10), line("news", version=10)), 5)
    assert told["newest_version"] == "10"
    assert [one["signature"] for one in told["only_in_newest"]] == ["news"]
    # With one version alone there is nothing to compare with.
    assert told_errors(grouped(known), 5)["only_in_newest"] == []


def test_lines_of_other_programs_times_and_models_are_left_out() -> None:
    lines = [
        b"Traceback (most recent call last):\n",
        b'{"level": "ERROR", "message": "half a li',
        b'["level": "ERROR"]\n',
        b'{"level": "ERROR", "time": "no time", "message": "x"}\n',
        b'{"level": "ERROR", "time": "2026-03-01T12:00:00", "message": "no zone"}\n',
        line("not an error", level="INFO"),
        line("of another", model="other"),
        line("too early", -1),
        line("too late", 10),
        line("mine", model="tiny"),
        line("of all"),
        line("left out", suppressed=41),
    ]
    found = grouped(*lines, model="tiny", since=START, until=START + timedelta(minutes=10))
    assert {one.text: one.count for one in found.top(9)} == {"left out": 41, "mine": 1, "of all": 1}


def test_memory_is_bounded() -> None:
    def events() -> Iterator[ErrorEvent]:
        letters = "abcdefghijklmnop"
        for first in letters:
            for second in letters:
                yield ErrorEvent(START, "ERROR", f"{first} {second}")

    groups = ErrorGroups(most=10)
    for event in events():
        groups.add(event)
    assert groups.top(1)[0].text == OTHERS
    assert len(groups.top(100)) == 11
    assert sum(one.count for one in groups.top(100)) == 256
