"""`ferryman ledger`: the truth about releases."""

import json
import sys
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from ferryman.catalog import find_model
from ferryman.cli.options import ModelOption, out
from ferryman.errors import ExitCode
from ferryman.settings import Settings, load_settings
from ferryman.spec.windows import format_time

if TYPE_CHECKING:
    from ferryman.ledger.account import Line
    from ferryman.ledger.ledger import Ledger
    from ferryman.ledger.records import Head

app = typer.Typer(no_args_is_help=True, help="The truth about releases.")

_ReasonOption = Annotated[
    str, typer.Option("--reason", help="Why, in 10 to 500 characters; it is kept for ever.")
]
_VersionOption = Annotated[int, typer.Option("--version", min=1, help="A registered version.")]


@app.command("show")
def ledger_show(
    model: ModelOption,
    as_json: Annotated[bool, typer.Option("--json", help="A line of JSON for each row.")] = False,
) -> None:
    """The head of a model and every row about it: before and after, who and why."""
    from ferryman.ledger.account import account_of

    settings = load_settings()
    ledger = _open_ledger(settings)
    lines = account_of(ledger, model)
    if not lines:
        find_model(settings.zoo, model)  # a misspelt name is told, not shown as nothing
    if as_json:
        for line in lines:
            sys.stdout.write(json.dumps(line.as_json) + "\n")
        return
    out.print(_about(model, ledger.head(model)))
    out.print(_table(lines))


@app.command("verify")
def ledger_verify() -> None:
    """Check chain, rules and heads; exit 7 when a row was changed or removed."""
    broken = _open_ledger(load_settings()).verify()
    for text in broken:
        sys.stderr.write(text + "\n")
    if broken:
        raise typer.Exit(int(ExitCode.INTEGRITY))
    out.print("the ledger's chain is whole")


@app.command("freeze")
def ledger_freeze(model: ModelOption, reason: _ReasonOption) -> None:
    """Let no promotion, adoption or candidate's share follow; a rollback still may."""
    _set_frozen(model, True, reason)


@app.command("unfreeze")
def ledger_unfreeze(model: ModelOption, reason: _ReasonOption) -> None:
    """Let releases of a model follow again."""
    _set_frozen(model, False, reason)


@app.command("hold")
def ledger_hold(model: ModelOption, version: _VersionOption, reason: _ReasonOption) -> None:
    """Put a version under a legal hold: it is protected until `unhold`."""
    _set_held(model, version, True, reason)


@app.command("unhold")
def ledger_unhold(model: ModelOption, version: _VersionOption, reason: _ReasonOption) -> None:
    """End the legal hold of a version."""
    _set_held(model, version, False, reason)


def _set_frozen(model: str, frozen: bool, reason: str) -> None:
    settings = load_settings()
    ledger = _open_ledger(settings)
    ledger.set_frozen(model, frozen, actor=settings.actor, reason=reason)
    out.print(_about(model, ledger.head(model)))


def _set_held(model: str, version: int, held: bool, reason: str) -> None:
    settings = load_settings()
    ledger = _open_ledger(settings)
    ledger.set_held(model, version, held, actor=settings.actor, reason=reason)
    for kept in ledger.protected(model):
        out.print(f"{model} version {kept.version} is protected: {', '.join(kept.why)}")


def _about(model: str, head: "Head | None") -> str:
    if head is None:
        return f"{model}: nothing released yet"
    frozen = ", frozen" if head.frozen else ""
    return f"{model}: epoch {head.epoch}, version {head.version}, digest {head.digest}{frozen}"


def _table(lines: list["Line"]) -> Table:
    table = Table("row", "at", "kind", "version", "before", "after", "actor", "reason")
    for line in lines:
        version = "" if line.version is None else str(line.version)
        told = (line.kind, version, line.before, line.after, line.actor, line.reason)
        table.add_row(str(line.seq), format_time(line.at), *(escape(text) for text in told))
    return table


def _open_ledger(settings: Settings) -> "Ledger":
    from ferryman.ledger.ledger import Ledger

    return Ledger(settings.ledger_url)
