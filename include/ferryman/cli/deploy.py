"""`ferryman deploy`: servers in a cluster, as manifests or applied."""

import sys
from pathlib import Path
from typing import Annotated

import typer
import yaml

from ferryman.cli.options import out
from ferryman.errors import SpecError
from ferryman.ledger.ledger import Ledger
from ferryman.runtime.bundle_store import ReleasedModel, seal_of
from ferryman.settings import Settings, load_settings
from ferryman.spec.serving import MAIN
from ferryman.steps.model_servers import server_name_of

app = typer.Typer(no_args_is_help=True, help="Servers in a Kubernetes cluster.")

ServerOption = Annotated[str, typer.Option(help="Name of a declared server.")]


@app.command()
def manifests(
    server: ServerOption = MAIN,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write; default: print.")
    ] = None,
) -> None:
    """Print what would be applied, as YAML, with the released models of the ledger."""
    from dataclasses import replace

    from ferryman.deployment.cluster.kubernetes_deployer import declared_workload
    from ferryman.deployment.cluster.manifests import manifests as made

    settings = load_settings()
    workload = declared_workload(settings, server)
    text = as_yaml(made(replace(workload, release=_released(settings, server))))
    if output is None:
        sys.stdout.write(text)
    else:
        output.write_text(text)
        out.print(f"wrote {output}", highlight=False)


@app.command()
def apply(
    server: ServerOption = MAIN,
    stop: Annotated[bool, typer.Option("--stop", help="Remove it from the cluster.")] = False,
    replicas: Annotated[
        int | None, typer.Option(min=1, max=100, help="Run so many from now on.")
    ] = None,
) -> None:
    """Apply a server to its cluster and wait until all its pods are ready.

    It serves what was released to it; `ferryman reconcile` releases what the ledger says.
    """
    from ferryman.deployment.cluster.kubernetes_deployer import KubernetesDeployer

    if stop and replicas is not None:
        raise SpecError("--stop and --replicas exclude each other", remedy="Give one of them.")
    deployer = KubernetesDeployer(load_settings(), server)
    deployment = deployer.stop() if stop else deployer.start()
    if replicas is not None:
        deployment = deployer.scale(replicas)
    out.print(str(deployment), highlight=False)


@app.command()
def status(server: ServerOption = MAIN) -> None:
    """Say what the cluster knows of a server and of each of its pods."""
    from ferryman.deployment.cluster.kubernetes_deployer import KubernetesDeployer

    deployment = KubernetesDeployer(load_settings(), server).status()
    out.print(str(deployment), highlight=False)
    for replica in deployment.replicas:
        detail = f": {replica.detail}" if replica.detail else ""
        state = replica.state.replace("_", " ")
        out.print(f"  {replica.name} {state}{detail}", highlight=False, markup=False)


def as_yaml(found: list[dict[str, object]]) -> str:
    """Manifests as one YAML file."""
    return yaml.safe_dump_all(found, sort_keys=False, allow_unicode=True, width=10_000)


def _released(settings: Settings, server: str) -> dict[str, ReleasedModel]:
    """What the ledger says that a server serves; where its bundles will lie is their digest."""
    if settings.ledger_url.startswith("sqlite:///") and not _exists(settings.ledger_url):
        return {}
    return {
        head.model: ReleasedModel(
            version=head.version,
            epoch=head.epoch,
            digest=head.digest,
            bundle=f"{head.model}/{head.digest}",
            seal=seal_of(settings.bundles_root / head.bundle),
        )
        for head in Ledger(settings.ledger_url).heads()
        if server_name_of(settings, head.model) == server
    }


def _exists(ledger_url: str) -> bool:
    """Printing makes no ledger."""
    return Path(ledger_url.removeprefix("sqlite:///")).is_file()
