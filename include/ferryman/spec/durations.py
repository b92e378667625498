"""Durations as people write them: 7d, 12h, 30m, 45s; latencies: 200ms, 2s."""

import re
from datetime import timedelta
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_PATTERN = r"[1-9][0-9]*[smhd]"
_LATENCY = r"[1-9][0-9]*(ms|s)"


def parse_duration(value: object) -> timedelta:
    """Turn "7d" into a timedelta; anything else is a ValueError that shows the form."""
    if isinstance(value, timedelta):
        return value
    if not isinstance(value, str) or not re.fullmatch(_PATTERN, value):
        raise ValueError(
            f"{value!r} is not a duration; write a number and s, m, h or d, such as 7d"
        )
    return timedelta(**{_UNITS[value[-1]]: int(value[:-1])})


def format_duration(value: timedelta) -> str:
    """The shortest text that `parse_duration` reads back to the same value."""
    seconds = int(value.total_seconds())
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, return_type=str),
    WithJsonSchema({"type": "string", "pattern": f"^{_PATTERN}$"}),
]


def parse_latency(value: object) -> timedelta:
    """Turn "200ms" or "2s" into a timedelta; anything else is a ValueError that shows the form."""
    if isinstance(value, timedelta):
        return value
    if not isinstance(value, str) or not re.fullmatch(_LATENCY, value):
        raise ValueError(f"{value!r} is not a latency; write a number and ms or s, such as 200ms")
    if value.endswith("ms"):
        return timedelta(milliseconds=int(value[:-2]))
    return timedelta(seconds=int(value[:-1]))


def format_latency(value: timedelta) -> str:
    """The shortest text that `parse_latency` reads back to the same value."""
    thousandths = round(value / timedelta(milliseconds=1))
    return f"{thousandths}ms" if thousandths % 1000 else f"{thousandths // 1000}s"


Latency = Annotated[
    timedelta,
    BeforeValidator(parse_latency),
    PlainSerializer(format_latency, return_type=str),
    WithJsonSchema({"type": "string", "pattern": f"^{_LATENCY}$"}),
]
