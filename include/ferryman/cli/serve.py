"""`ferryman serve`: start, look at, scale and end a declared server."""

from typing import Annotated

import typer
from rich.table import Table

from ferryman.cli.options import out
from ferryman.deployment.deployer import Deployment
from ferryman.errors import SpecError
from ferryman.settings import load_settings
from ferryman.spec.servers import find_server
from ferryman.spec.serving import MAIN


def serve(
    server: Annotated[str, typer.Option(help="A server of servers.yaml.")] = MAIN,
    detach: Annotated[bool, typer.Option(help="Start in the background and return.")] = False,
    stop: Annotated[bool, typer.Option(help="End the server in the background.")] = False,
    status: Annotated[bool, typer.Option(help="Say whether it runs, and each replica.")] = False,
    replicas: Annotated[
        int | None, typer.Option(min=1, max=100, help="Run so many from now on.")
    ] = None,
) -> None:
    """Start a server (in the foreground, unless told otherwise)."""
    settings = load_settings()
    if not (detach or stop or status or replicas):
        _stay(server)
    from ferryman.deployment.deployers import deployer_of

    deployer = deployer_of(settings, server)
    if stop:
        _tell(deployer.stop())
        return
    deployment = deployer.start() if detach else deployer.status()
    _tell(deployer.scale(replicas) if replicas else deployment)


def _stay(server: str) -> None:
    """Be the server's front until TERM or INT."""
    from ferryman.runtime.serving_command import front_arguments
    from ferryman.serving.__main__ import main as serve_here

    settings = load_settings()
    declared = find_server(settings.zoo, server)
    if declared.place != "process":
        raise SpecError(
            f"server {server!r} runs in a {declared.place}, not in the foreground",
            remedy=f"ferryman serve --server {server} --detach",
        )
    raise typer.Exit(serve_here(["front", *front_arguments(settings, server, declared)]))


def _tell(deployment: Deployment) -> None:
    # Its own text form: rich would take a dataclass apart.
    out.print(str(deployment), highlight=False)
    if deployment.replicas:
        table = Table("replica", "state", "detail")
        for replica in deployment.replicas:
            table.add_row(replica.name, replica.state.replace("_", " "), replica.detail)
        out.print(table)
