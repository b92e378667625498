"""`python -m ferryman_airflow.stack up|down|status`."""

import contextlib
import logging
import sys
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ferryman.catalog import find_model
from ferryman.errors import FerrymanError, exit_code_of
from ferryman.settings import load_settings
from ferryman_airflow.stack.airflow_config import read_password
from ferryman_airflow.stack.launcher import Launcher, Stopped, end_stack
from ferryman_airflow.stack.processes import ProcessGroup
from ferryman_airflow.stack.rest import AirflowApi
from ferryman_airflow.stack.settings import StackSettings

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
out = Console(soft_wrap=True)


@app.command()
def up(
    live: Annotated[bool, typer.Option(help="Carry the model to a served prediction.")] = True,
    stay: Annotated[bool, typer.Option(help="Stay until Ctrl-C.")] = True,
) -> None:
    """Start everything, carry the model from raw data to a prediction, and stay."""
    stack, settings = StackSettings(), load_settings()
    model = find_model(settings.zoo, stack.model)
    launcher = Launcher(stack, settings, out)
    failure: FerrymanError | None = None
    try:
        with launcher.running():
            out.print(f"Airflow, MLflow and serving are up; logs in {stack.logs}", highlight=False)
            if live:
                failure = _try_to_live(stack, launcher, model.name)
            _say_where(stack, launcher)
            if stay:
                out.print("Ctrl-C ends everything.")
                launcher.stay()
    except Stopped as stopped:
        out.print(f"stopped by {stopped}")
    if failure is not None:
        sys.exit(int(exit_code_of(failure)))


@app.command()
def down() -> None:
    """End what an earlier `up` left running."""
    end_stack(StackSettings(), out)


@app.command()
def status() -> None:
    """Show which processes run."""
    stack = StackSettings()
    group = ProcessGroup(stack.state_file, stack.logs)
    group.adopt()
    table = Table("process", "pid", "state")
    for one in group.running.values():
        table.add_row(one.name, str(one.pid), "running" if one.process() else "ended")
    out.print(table if group.running else "nothing is running")


def _try_to_live(stack: StackSettings, launcher: Launcher, name: str) -> FerrymanError | None:
    """Live the life; where it stops, say why and leave the pages up, which show more."""
    try:
        _live(stack, launcher, name)
    except FerrymanError as error:
        out.print(f"[red]{name} is not served:[/] {escape(error.text)}", highlight=False)
        out.print(f"remedy: {escape(error.remedy)}", highlight=False)
        return error
    return None


def _live(stack: StackSettings, launcher: Launcher, name: str) -> None:
    from ferryman_airflow.stack.life import Life  # pyarrow: not for `down` and `status`

    settings = launcher.settings
    api = AirflowApi(stack.airflow_url, stack.user, read_password(stack))
    with contextlib.closing(api):
        outcome = Life(api, settings, find_model(settings.zoo, name), out).live()
    head = outcome.head
    lines = [
        f"[bold]gate[/]        {escape(outcome.gate)}",
        f"[bold]champion[/]    version {head.version}, epoch {head.epoch}, {head.digest[:12]}",
        f"[bold]prediction[/]  {outcome.probability:.4f}, answered by {outcome.answered_by}",
    ]
    out.rule(f"{name} is served")
    out.print("\n".join(lines), highlight=False)
    out.print(outcome.curl, highlight=False, markup=False)


def _say_where(stack: StackSettings, launcher: Launcher) -> None:
    table = Table("page", "address", "login", title="Where things are")
    table.add_row("Airflow", stack.airflow_url, f"{stack.user} / {read_password(stack)}")
    table.add_row("MLflow", stack.mlflow_url, "")
    table.add_row("Serving", launcher.settings.serving_url, "")
    out.print(table)


def main() -> None:
    """Run the command; known errors become a sentence and their exit code, never a traceback."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        app()
    except FerrymanError as error:
        sys.stderr.write(f"error: {error.text}\nremedy: {error.remedy}\n")
        sys.exit(int(exit_code_of(error)))


if __name__ == "__main__":
    main()
