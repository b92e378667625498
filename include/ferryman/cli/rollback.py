"""`ferryman rollback`, `adopt` and `guard`: what a person decides about who serves."""

import sys
from typing import Annotated

import typer
from pydantic import JsonValue

from ferryman.catalog import find_model
from ferryman.cli.options import ModelOption, out
from ferryman.settings import load_settings
from ferryman.steps.journey import Journey

ReasonOption = Annotated[str, typer.Option(help="Why, in 10 to 200 characters; it is recorded.")]


def rollback(
    model: ModelOption,
    reason: ReasonOption,
    version: Annotated[
        int | None, typer.Option(help="Default: the newest before that served and verifies.")
    ] = None,
    epoch: Annotated[
        int | None, typer.Option(help="The epoch that you saw; another one is not rolled back.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Serve a version again that served before; the one that is left is quarantined."""
    _run("roll_back", model, {"reason": reason, "version": version, "epoch": epoch}, as_json)


def adopt(
    model: ModelOption,
    reason: ReasonOption,
    version: Annotated[
        int | None, typer.Option(help="Default: the one that the alias was last moved to by hand.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Release a registered version on a person's word; declared thresholds hold all the same."""
    _run("adopt", model, {"reason": reason, "version": version}, as_json)


def guard(model: ModelOption) -> None:
    """Check versions, tags, alias and bundles that releases rest on; put right what can be."""
    from ferryman.steps.guard import guard as look

    settings = load_settings()
    found = look(settings, find_model(settings.zoo, model).name)
    for text in found:
        out.print(text, markup=False, highlight=False)
    if not found:
        out.print(f"{model}: all that is protected is as it was left", highlight=False)


def _run(step: str, model: str, params: dict[str, JsonValue], as_json: bool) -> None:
    settings = load_settings()
    journey = Journey(settings, find_model(settings.zoo, model))
    given = {name: value for name, value in params.items() if value is not None}
    for result in journey.run(step, params=given):
        if as_json:
            sys.stdout.write(result.model_dump_json() + "\n")
        else:
            out.print(f"{result.verdict}: {result.text}", markup=False, highlight=False)
