"""`ferryman reproduce`: trains a registered version again and compares."""

import json
import sys
from typing import Annotated

import typer
from rich.markup import escape

from ferryman.cli.options import out
from ferryman.settings import load_settings


def reproduce(
    what: Annotated[str, typer.Argument(help="A model version: flights/3, flights@champion.")],
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="The model, where only a number is given.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="All that was found, as JSON.")] = False,
) -> None:
    """Train a version again from what was recorded of it, and compare the answers (exit 0 or 7).

    Nothing is registered. The model's own code runs: where its folder has changed, the copy that
    was kept with the training run, whose digest is part of the version's run key.
    """
    from ferryman.reproduction.reproduce import Reproducer

    done = Reproducer(load_settings()).reproduce(what, model)
    if as_json:
        sys.stdout.write(json.dumps(done.as_json(), indent=1) + "\n")
    else:
        for finding in done.findings:
            mark = "[green]same[/green]   " if finding.same else "[yellow]differs[/yellow]"
            out.print(f"{mark} {finding.subject}: {escape(finding.text)}", highlight=False)
    if not done.reproduced:
        raise done.error()
    if not as_json and done.comparison is not None:
        files = "equal model files" if done.same_bytes else "model files of other bytes"
        out.print(
            f"[bold]{done.model}/{done.version} is reproduced[/bold]: {done.comparison.rows} rows "
            f"within {done.comparison.max_difference:.1e}, {files}, in {done.seconds:.2f} s",
            highlight=False,
        )
