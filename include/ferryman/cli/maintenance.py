"""`ferryman maintenance`: what may go, why, and on request its removal."""

from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from ferryman.catalog import find_model
from ferryman.cli.options import ModelOption, out
from ferryman.settings import load_settings
from ferryman.steps.journey import Journey


def maintenance(
    model: ModelOption,
    apply: Annotated[
        bool, typer.Option("--apply", help="Remove it; else it is only told.")
    ] = False,
) -> None:
    """Tell what no version, run, release, pin or legal hold needs; remove it with --apply."""
    settings = load_settings()
    journey = Journey(settings, find_model(settings.zoo, model))
    (result,) = journey.run("maintenance", params={"apply": apply})
    goes: Any = result.outputs["goes"]
    if goes:
        table = Table("removed" if apply else "would go", "name", "bytes", "why")
        for item in goes:
            table.add_row(item["kind"], item["name"][:60], str(item["bytes"]), escape(item["why"]))
        out.print(table)
    stays: Any = result.outputs["stays"]
    for reason, count in stays.items():
        out.print(f"stays: {count} x {escape(reason)}", highlight=False)
    out.print(f"{result.text}\nall of it: {result.outputs['report']}", highlight=False)
