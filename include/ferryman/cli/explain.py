"""`ferryman explain`: what each feature of a row adds to the answer of the version that serves."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from ferryman.catalog import find_model
from ferryman.cli.options import ModelOption, out
from ferryman.errors import SpecError
from ferryman.settings import load_settings


def explain(
    model: ModelOption,
    row: Annotated[Path, typer.Option("--row", help="JSON file: feature values by name.")],
    as_json: Annotated[bool, typer.Option("--json", help="All figures as JSON.")] = False,
) -> None:
    """Print how far each feature moves the answer to a row from the mean answer."""
    import numpy as np

    from ferryman.steps.explain_row import explain_row

    settings = load_settings()
    name = find_model(settings.zoo, model).name
    explained = explain_row(settings, name, _read(row))
    found = explained.explanation
    if as_json:
        told = {"model": name, "version": explained.version, "epoch": explained.epoch}
        sys.stdout.write(json.dumps({**told, **found.as_json()}, indent=1) + "\n")
        return
    values, base, answer, of_class = found.attributions[0], found.base, found.answers[0], ""
    if found.classes:
        likeliest = int(np.argmax(answer))
        values, base, answer = values[:, likeliest], base[likeliest], answer[likeliest]
        of_class = f" of {found.classes[likeliest]}"
    table = Table("feature", "value", f"adds to the {found.unit}")
    table.add_row("(mean answer)", "", f"{base:.6g}")
    for place in np.argsort(-np.abs(values), kind="stable"):
        feature = found.features[place]
        table.add_row(escape(feature), escape(str(explained.row[feature])), f"{values[place]:+.6g}")
    table.add_row("[bold]answer[/bold]", "", f"[bold]{answer:.6g}[/bold]")
    version = f"{name} version {explained.version}, epoch {explained.epoch}"
    out.print(escape(f"{version}: the {found.unit}{of_class} is {answer:.6g}"), highlight=False)
    out.print(table)


def _read(file: Path) -> dict[str, Any]:
    """The row of a file; SpecError (exit 2) where it holds none."""
    try:
        content = json.loads(file.read_bytes())
    except (OSError, ValueError) as error:
        raise SpecError(f"{file}: not a row in JSON: {error}", remedy="Write {...}.") from error
    if not isinstance(content, dict):
        raise SpecError(f"{file}: a row is an object, {{name: value}}", remedy="Write {...}.")
    return content
