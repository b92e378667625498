"""`ferryman data`: the versions of data."""

from typing import Annotated

import typer
from rich.table import Table

from ferryman.cli.options import ModelOption, out
from ferryman.runtime.data_store import open_own_data_store
from ferryman.settings import load_settings

app = typer.Typer(no_args_is_help=True, help="Versions of data.")


@app.command("list")
def data_list(model: ModelOption) -> None:
    """The published windows of a model's data."""
    from ferryman.data.listing import list_windows

    rows = list_windows(open_own_data_store(load_settings()), model)
    table = Table("window", "snapshot", "rows", "labels", "why")
    for row in rows:
        table.add_row(row.window, row.snapshot[:16], str(row.rows), str(row.labels), row.why)
    out.print(table)


@app.command("show")
def data_show(model: ModelOption, snapshot: Annotated[str, typer.Argument()]) -> None:
    """The catalogue entry of one snapshot (a unique beginning of its id will do)."""
    from ferryman.data.listing import show_snapshot

    out.print_json(data=show_snapshot(open_own_data_store(load_settings()), model, snapshot))
