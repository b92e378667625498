"""`ferryman quality`: each day's answers, and how their figure moved as labels came."""

import json
import sys
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from ferryman.catalog import find_model
from ferryman.cli.options import ModelOption, out
from ferryman.settings import load_settings

if TYPE_CHECKING:
    from ferryman.monitoring.quality_windows import EventDay


def quality(
    model: ModelOption,
    days: Annotated[int, typer.Option(min=1, help="So many newest days of events.")] = 14,
    revisions: Annotated[
        bool, typer.Option("--revisions", help="Every statement, not the last ones only.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="A line of JSON a statement.")] = False,
) -> None:
    """What is known of each day's answers: labels, coverage, the metric, what was estimated."""
    from ferryman.monitoring.quality_windows import EventDays

    settings = load_settings()
    store = EventDays(settings.monitoring_root)
    named = store.days(model)[-days:]
    if not named:
        find_model(settings.zoo, model)  # a misspelt name is told, not shown as nothing
    said = [one for day in named for one in _said(store.all_said(model, day), revisions=revisions)]
    if as_json:
        for one in said:
            sys.stdout.write(json.dumps(one.as_json()) + "\n")
        return
    out.print(_table(said))


def _said(found: "list[EventDay]", *, revisions: bool) -> "list[EventDay]":
    return found if revisions else found[-1:]


def _table(said: "list[EventDay]") -> Table:
    head = ("day", "known until", "predicted", "labelled", "coverage", "metric", "estimate")
    table = Table(*head, box=None, header_style="bold")
    for one in said:
        interval = "" if one.low is None or one.high is None else f"{one.low:.4f}, {one.high:.4f}"
        figure = escape(one.text) if one.value is None else f"{one.metric} {one.value:.4f}"
        table.add_row(
            one.day,
            one.known.removesuffix("T00:00:00Z"),
            str(one.predicted),
            str(one.labelled),
            "" if one.coverage is None else f"{one.coverage:.1%}",
            f"{figure} ({interval})" if interval else figure,
            "" if one.estimate is None else f"{one.estimate:.4f}",
        )
    return table
