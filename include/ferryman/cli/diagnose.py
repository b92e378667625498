"""`ferryman diagnose`: what changed since the last window in which nothing alarmed."""

import json
import sys
from typing import Annotated

import typer

from ferryman.catalog import find_model
from ferryman.cli.options import ModelOption, WindowOption, out, parse_window
from ferryman.settings import load_settings


def diagnose(
    model: ModelOption,
    window: WindowOption = None,
    alert: Annotated[
        bool, typer.Option("--alert", help="Tell the declared channels, once a window.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="All facts as JSON.")] = False,
) -> None:
    """Name the likeliest culprits of a window's alarms, with evidence and remedy."""
    from ferryman.runtime.declared_connections import DeclaredConnections
    from ferryman.runtime.messages import StepRequest
    from ferryman.runtime.run_store import run_folder
    from ferryman.steps.contract import StepContext, StepParams
    from ferryman.steps.diagnosed_window import diagnose_window, newest_window
    from ferryman.steps.told_diagnosis import tell_diagnosis

    settings = load_settings()
    found = find_model(settings.zoo, model)
    span = parse_window(window) if window else newest_window(settings.monitoring_root, model)
    request = StepRequest(
        model=model,
        step="monitor",
        run_id="diagnosis",
        run_uri=str(run_folder(settings.runs_root, model, "monitoring", "diagnosis")),
        window=span,
        spec_digest=found.digest,
    )
    context = StepContext(request, found, settings, StepParams(), DeclaredConnections(settings))
    said = diagnose_window(context)
    if alert:
        tell_diagnosis(context, said)
    if as_json:
        sys.stdout.write(json.dumps(said.as_json()) + "\n")
        return
    out.print(said.title, style="bold", markup=False, highlight=False)
    out.print(said.text, markup=False, highlight=False)
