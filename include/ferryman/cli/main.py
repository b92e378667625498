"""The `ferryman` command: every step and every question, with no Airflow.

Exit codes are those of `ferryman.errors`; errors go to standard error with their remedy.
"""

import logging
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from ferryman.catalog import find_model, load_catalog
from ferryman.cli import (
    approval,
    autoscale,
    costs,
    data,
    deploy,
    diagnose,
    drill,
    expectations,
    explain,
    labels,
    ledger,
    lineage,
    logs,
    maintenance,
    quality,
    reproduce,
    rollback,
    serve,
    serve_queue,
    served,
)
from ferryman.cli.options import (
    ModelOption,
    WindowOption,
    out,
    parse_day,
    parse_params,
    parse_window,
)
from ferryman.errors import ExitCode, FerrymanError, exit_code_of
from ferryman.runtime.json_logs import set_up_logs, writes_json
from ferryman.settings import load_settings
from ferryman.spec.loader import load_model
from ferryman.spec.yaml_file import DeclarationError
from ferryman.steps.journey import Journey

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
app.add_typer(data.app, name="data")
app.add_typer(deploy.app, name="deploy")
app.add_typer(expectations.app, name="expectations")
app.add_typer(labels.app, name="labels")
app.add_typer(ledger.app, name="ledger")
app.add_typer(logs.app, name="logs")
app.command("approve")(approval.approve)
app.command("reject")(approval.reject)
app.command("adopt")(rollback.adopt)
app.command("autoscale")(autoscale.autoscale)
app.command("costs")(costs.costs)
app.command("diagnose")(diagnose.diagnose)
app.command("drill")(drill.drill)
app.command("explain")(explain.explain)
app.command("guard")(rollback.guard)
app.command("lineage")(lineage.lineage)
app.command("maintenance")(maintenance.maintenance)
app.command("quality")(quality.quality)
app.command("reproduce")(reproduce.reproduce)
app.command("rollback")(rollback.rollback)
app.command("serve")(serve.serve)
app.command("serve-queue")(serve_queue.serve_queue)
app.command("served")(served.served)


def main() -> None:
    """Run the command; known errors become a sentence and their exit code, never a traceback."""
    set_up_logs("cli", usual="text", level=logging.WARNING)
    try:
        # Without its standalone mode typer returns the code of a typer.Exit.
        sys.exit(app(standalone_mode=False) or 0)
    except FerrymanError as error:
        if writes_json():
            told = {"exit_code": int(exit_code_of(error)), "remedy": error.remedy}
            logging.getLogger("ferryman").error("%s", error.text, extra=told)
        else:
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
    logging.getLogger("ferryman.steps.expose").setLevel(logging.INFO)  # it may take days
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
