"""What every group of commands shares: options, their forms, and the console."""

import sys
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer
import yaml
from pydantic import JsonValue
from rich.console import Console

from ferryman.errors import SpecError
from ferryman.spec.windows import DAY, Window

_UNCUT = 1_000  # characters; rich would cut ids to fit a terminal that is not there
out = Console(soft_wrap=True, width=None if sys.stdout.isatty() else _UNCUT)

ModelOption = Annotated[str, typer.Option("--model", "-m", help="Name of a declared model.")]
WindowOption = Annotated[
    str | None,
    typer.Option("--window", help="A day (2013-02-01) or days, both included (A..B), UTC."),
]


def parse_day(text: str) -> datetime:
    """Midnight UTC of a day such as 2013-02-01; SpecError (exit 2) otherwise."""
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        raise SpecError(f"{text!r} is not a day", remedy="Write it as 2013-02-01.") from None


def parse_window(text: str) -> Window:
    """The window of `A` or `A..B` (days in UTC, both included)."""
    first, _, last = text.partition("..")
    start, end = parse_day(first), parse_day(last or first) + DAY
    if end - start < timedelta(days=1):
        raise SpecError(f"window {text!r} ends before it starts", remedy="Write FIRST..LAST.")
    return Window(start=start, end=end)


def parse_params(pairs: list[str]) -> dict[str, JsonValue]:
    """NAME=VALUE pairs; a value is read as a YAML scalar (3, 0.5, true, null, text).

    A whole number that is written in another way than it would be printed (0123) stays text.
    """
    params: dict[str, JsonValue] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise SpecError(f"parameter {pair!r} has no value", remedy="Write NAME=VALUE.")
        read = yaml.safe_load(value)
        if type(read) is int and str(read) != value:
            read = value
        params[name] = read if isinstance(read, str | int | float | bool | None) else value
    return params
