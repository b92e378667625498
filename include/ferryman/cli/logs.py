"""`ferryman logs`: which errors there were, how often, and which came with the newest version."""

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from ferryman.cli.options import out, parse_day
from ferryman.settings import load_settings

app = typer.Typer(no_args_is_help=True)

_UNITS = {"m": 60, "h": 3600, "d": 86400}


@app.callback()
def logs() -> None:
    """What the logs of servers and steps say."""


@app.command("top-errors")
def top_errors(
    files: Annotated[
        list[Path] | None, typer.Argument(help="Logs (JSON lines); default: this machine's.")
    ] = None,
    model: Annotated[str, typer.Option("--model", "-m", help="Only this model's.")] = "",
    version: Annotated[str, typer.Option(help="Only this version's.")] = "",
    since: Annotated[str, typer.Option(help="A day (2026-03-01), or 90m, 24h, 7d ago.")] = "",
    last: Annotated[int, typer.Option("--last", min=1, max=1000, help="Show so many.")] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Group errors by their words, with counts by version, the most frequent first."""
    import orjson

    from ferryman.monitoring.error_signatures import ErrorGroups, told_errors
    from ferryman.steps.known_errors import known_errors

    groups = ErrorGroups()
    start = parse_since(since) if since else None
    for event in known_errors(load_settings(), model, since=start, files=files or ()):
        if version in ("", event.version):
            groups.add(event)
    told = told_errors(groups, last)
    if as_json:
        sys.stdout.write(orjson.dumps(told).decode() + "\n")
        return
    if not told["top"]:
        out.print("no errors")
        return
    table = Table("count", "versions", "first", "last", "where", "error")
    for one in groups.top(last):
        versions = ", ".join(f"{name}: {count}" for name, count in one.versions.most_common(5))
        moments = (f"{moment:%Y-%m-%d %H:%M:%S}" for moment in (one.first, one.last))
        table.add_row(str(one.count), versions, *moments, escape(one.where), escape(one.text))
    out.print(table)
    for one in told["only_in_newest"]:
        out.print(
            f"only in version {told['newest_version']}: {escape(one['signature'])} "
            f"({one['count']} times), such as: {escape(one['example'])}",
            highlight=False,
        )


def parse_since(text: str) -> datetime:
    """The moment (UTC) of a day, or of so many minutes, hours or days ago; SpecError otherwise."""
    unit = _UNITS.get(text[-1:])
    if unit is not None and text[:-1].isdecimal() and len(text) <= 7:
        return datetime.now(UTC) - timedelta(seconds=int(text[:-1]) * unit)
    return parse_day(text)
