"""The `ferryman` command: every step and every question, with no Airflow.

Exit codes are those of `ferryman.errors`; errors go to standard error with their remedy.
"""

import logging
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
import yaml
from pydantic import JsonValue
from rich.console import Console
from rich.table import Table

from ferryman.catalog import find_model, load_catalog
from ferryman.errors import ExitCode, FerrymanError, SpecError, exit_code_of
from ferryman.settings import Settings, load_settings
from ferryman.spec.loader import DeclarationError, load_model
from ferryman.spec.windows import DAY, Window, format_time
from ferryman.steps.journey import Journey

if TYPE_CHECKING:
    from ferryman.ledger.ledger import Ledger

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
data_app = typer.Typer(no_args_is_help=True, help="Versions of data.")
ledger_app = typer.Typer(no_args_is_help=True, help="The truth about releases.")
app.add_typer(data_app, name="data")
app.add_typer(ledger_app, name="ledger")
out = Console(soft_wrap=True)

ModelOption = Annotated[str, typer.Option("--model", "-m", help="Name of a declared model.")]
WindowOption = Annotated[
    str | None,
    typer.Option("--window", help="A day (2013-02-01) or days, both included (A..B), UTC."),
]


def main() -> None:
    """Run the command; known errors become a sentence and their exit code, never a traceback."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    try:
        # Without its standalone mode typer returns the code of a typer.Exit.
        sys.exit(app(standalone_mode=False) or 0)
    except FerrymanError as error:
        sys.stderr.write(f"error: {error.text}\nremedy: {error.remedy}\n")
        sys.exit(int(exit_code_of(error)))
    except typer.Abort:
        sys.exit(130)
    except Exception as error:
        usage = getattr(error, "format_message", None)
        if usage is None:
            raise
        sys.stderr.write(f"error: {usage()}\n")
        sys.exit(int(ExitCode.SPEC))


@app.command()
def validate(
    files: Annotated[list[Path] | None, typer.Argument(help="Declarations; default: all.")] = None,
) -> None:
    """Check declarations; every mistake is printed as file:line, exit 2."""
    settings = load_settings()
    targets = files or sorted(settings.zoo.glob("*/model.yaml"))
    failed = False
    for target in targets:
        try:
            model = load_model(target)
        except DeclarationError as error:
            failed = True
            sys.stderr.write(error.text + "\n")
        else:
            out.print(f"{target}: model {model.name!r} is well declared")
    if failed:
        raise typer.Exit(int(ExitCode.SPEC))


@app.command()
def models() -> None:
    """List the declared models, and those that cannot be used."""
    catalog = load_catalog(load_settings().zoo)
    table = Table("model", "framework", "owner", "description")
    for model in catalog.models.values():
        spec = model.spec
        table.add_row(spec.name, spec.train.framework, spec.owner.team, spec.description)
    for name, error in catalog.errors.items():
        table.add_row(name, "[red]wrong[/red]", "", error)
    out.print(table)


@app.command()
def run(
    what: Annotated[str, typer.Argument(help="A step (train) or a pipeline (training).")],
    model: ModelOption,
    window: WindowOption = None,
    run_id: Annotated[str | None, typer.Option(help="Name of the run; a repeat continues.")] = None,
    param: Annotated[list[str] | None, typer.Option("--param", "-p", help="NAME=VALUE")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON.")] = False,
) -> None:
    """Run a step, or all steps of a pipeline, in this process."""
    settings = load_settings()
    journey = Journey(settings, find_model(settings.zoo, model))
    span = parse_window(window) if window else None
    for result in journey.run(what, window=span, run_id=run_id, params=parse_params(param or [])):
        if as_json:
            sys.stdout.write(result.model_dump_json() + "\n")
        else:
            out.print(
                f"[bold]{result.step}[/bold] {result.verdict}: {result.text}", highlight=False
            )


@app.command()
def serve(
    detach: Annotated[bool, typer.Option(help="Start in the background and return.")] = False,
    stop: Annotated[bool, typer.Option(help="End the server in the background.")] = False,
    status: Annotated[bool, typer.Option(help="Say whether it runs.")] = False,
) -> None:
    """Start the serving process (in the foreground, unless told otherwise)."""
    settings = load_settings()
    if not (detach or stop or status):
        from ferryman.serving.__main__ import main as serve_here

        raise typer.Exit(serve_here())
    from ferryman.deployment.process_deployer import ProcessDeployer

    deployer = ProcessDeployer(settings)
    deployment = deployer.stop() if stop else deployer.start() if detach else deployer.status()
    # Its own text form: rich would take a dataclass apart.
    out.print(str(deployment), highlight=False)


@app.command()
def reconcile() -> None:
    """Make alias, served version and ledger agree, for every model."""
    from ferryman.steps.reconcile import reconcile_all

    out.print(reconcile_all(load_settings()))


@app.command()
def replay(
    model: ModelOption,
    start: Annotated[str, typer.Option("--from", help="First day, such as 2013-01-29.")],
    end: Annotated[str, typer.Option("--to", help="Last day, included.")],
) -> None:
    """Live a recorded stretch of time in minutes, under three retraining policies."""
    from ferryman.replay import replay_with_progress

    replay_with_progress(load_settings(), model, parse_day(start), parse_day(end), out)


@app.command()
def new(name: Annotated[str, typer.Argument(help="Lower-case name, such as churn.")]) -> None:
    """Write a first declaration for a model, to be edited."""
    from ferryman.spec.template import write_template

    folder = write_template(load_settings().zoo, name)
    out.print(f"wrote {folder}; edit it, then: ferryman validate {folder / 'model.yaml'}")


@data_app.command("list")
def data_list(model: ModelOption) -> None:
    """The published windows of a model's data."""
    from ferryman.data.listing import list_windows

    rows = list_windows(load_settings().data_root, model)
    table = Table("window", "snapshot", "rows", "labels", "why")
    for row in rows:
        table.add_row(row.window, row.snapshot[:16], str(row.rows), str(row.labels), row.why)
    out.print(table)


@data_app.command("show")
def data_show(model: ModelOption, snapshot: Annotated[str, typer.Argument()]) -> None:
    """The catalogue entry of one snapshot (a unique beginning of its id will do)."""
    from ferryman.data.listing import show_snapshot

    out.print_json(data=show_snapshot(load_settings().data_root, model, snapshot))


@ledger_app.command("show")
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


@ledger_app.command("verify")
def ledger_verify() -> None:
    """Check the hash chain; exit 7 when a row was changed or removed."""
    broken = _open_ledger(load_settings()).verify()
    for text in broken:
        sys.stderr.write(text + "\n")
    if broken:
        raise typer.Exit(int(ExitCode.INTEGRITY))
    out.print("the ledger's chain is whole")


def parse_day(text: str) -> datetime:
    """Midnight UTC of a day such as 2013-02-01; SpecError (exit 2) otherwise."""
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        raise SpecError(f"{text!r} is not a day", remedy="Write it as 2013-02-01.") from None


def parse_window(text: str) -> Window:
    """The window of `A` or `A..B` (days in UTC, both included)."""
    first, _, last = text.partition("..")
    start, end = parse_day(first), parse_day(last or first) + DAY
    if end - start < timedelta(days=1):
        raise SpecError(f"window {text!r} ends before it starts", remedy="Write FIRST..LAST.")
    return Window(start=start, end=end)


def parse_params(pairs: list[str]) -> dict[str, JsonValue]:
    """NAME=VALUE pairs; a value is read as a YAML scalar (3, 0.5, true, null, text)."""
    params: dict[str, JsonValue] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise SpecError(f"parameter {pair!r} has no value", remedy="Write NAME=VALUE.")
        read = yaml.safe_load(value)
        params[name] = read if isinstance(read, str | int | float | bool | None) else value
    return params


def _open_ledger(settings: Settings) -> "Ledger":
    from ferryman.ledger.ledger import Ledger

    return Ledger(settings.ledger_url)


if __name__ == "__main__":
    main()
