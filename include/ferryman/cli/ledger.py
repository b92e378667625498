"""`ferryman ledger`: the truth about releases."""

import sys
from typing import TYPE_CHECKING

import typer
from rich.table import Table

from ferryman.cli.options import ModelOption, out
from ferryman.errors import ExitCode
from ferryman.settings import Settings, load_settings
from ferryman.spec.windows import format_time

if TYPE_CHECKING:
    from ferryman.ledger.ledger import Ledger

app = typer.Typer(no_args_is_help=True, help="The truth about releases.")


@app.command("show")
def ledger_show(model: ModelOption) -> None:
    """The head of a model and the history of its releases."""
    ledger = _open_ledger(load_settings())
    head = ledger.head(model)
    out.print(
        f"{model}: epoch {head.epoch}, version {head.version}, digest {head.digest}"
        if head
        else f"{model}: nothing released yet"
    )
    table = Table("at", "kind", "state", "version", "cut-off", "actor", "reason")
    for op in ledger.ops(model):
        candidate = op.candidate
        table.add_row(
            format_time(op.at),
            op.kind,
            op.state,
            str(candidate.version),
            str(candidate.order_key[0]),
            op.actor,
            op.reason,
        )
    out.print(table)


@app.command("verify")
def ledger_verify() -> None:
    """Check the hash chain; exit 7 when a row was changed or removed."""
    broken = _open_ledger(load_settings()).verify()
    for text in broken:
        sys.stderr.write(text + "\n")
    if broken:
        raise typer.Exit(int(ExitCode.INTEGRITY))
    out.print("the ledger's chain is whole")


def _open_ledger(settings: Settings) -> "Ledger":
    from ferryman.ledger.ledger import Ledger

    return Ledger(settings.ledger_url)
