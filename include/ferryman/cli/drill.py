"""`ferryman drill`: a bad model on purpose, to see that it is caught."""

import sys
from datetime import UTC, datetime
from typing import Annotated

import typer
from pydantic import JsonValue

from ferryman.catalog import find_model
from ferryman.cli.options import ModelOption, out
from ferryman.settings import load_settings
from ferryman.steps.journey import Journey


def drill(
    model: ModelOption,
    kind: Annotated[
        str, typer.Option(help="How it is bad: constant, nan or inverted.")
    ] = "constant",
    reason: Annotated[
        str | None, typer.Option(help="Why, in 10 to 200 characters; it is recorded.")
    ] = None,
    run_id: Annotated[
        str | None, typer.Option(help="Name of the run; a repeat continues a killed one.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Give a bad model a small share; exit 0 where it was caught, ended, told and recorded."""
    settings = load_settings()
    journey = Journey(settings, find_model(settings.zoo, model))
    params: dict[str, JsonValue] = {"kind": kind}
    if reason is not None:
        params["reason"] = reason
    # A drill that was red is no killed run: each command is a drill of its own.
    name = run_id or f"cli-{datetime.now(UTC):%Y%m%dT%H%M%S%f}"
    for result in journey.run("drill", run_id=name, params=params):
        if as_json:
            sys.stdout.write(result.model_dump_json() + "\n")
            continue
        out.print(f"{result.verdict}: {result.text}", markup=False, highlight=False)
