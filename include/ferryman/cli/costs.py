"""`ferryman costs`: what steps, runs and releases of a model cost, and what serving it costs."""

import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.markup import escape
from rich.table import Table

from ferryman.catalog import find_model
from ferryman.cli.logs import parse_since
from ferryman.cli.options import ModelOption, out
from ferryman.errors import DependencyUnavailable
from ferryman.settings import Settings, load_settings

if TYPE_CHECKING:
    from ferryman.ledger.costs import StepCost

_MIB = 2**20


def costs(
    model: ModelOption,
    since: Annotated[str, typer.Option(help="A day (2026-03-01), or 24h, 7d ago.")] = "30d",
    by: Annotated[Literal["step", "run", "version"], typer.Option(help="What a row is.")] = "step",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Sum up CPU seconds, time and memory of a model's steps, and what its answers cost."""
    from ferryman.ledger.costs import CostTable, summed_costs

    settings = load_settings()
    spec = find_model(settings.zoo, model).spec
    found = CostTable(settings.ledger_url).read(model, parse_since(since))
    rows = [_row(name, group) for name, group in summed_costs(found, by).items()]
    serving = _serving(settings, model)
    if as_json:
        import orjson

        told = {"model": model, "by": by, "rows": rows, "serving": serving}
        sys.stdout.write(orjson.dumps(told).decode() + "\n")
        return
    table = Table(by, "tries", "failed", "CPU seconds", "seconds", "most memory (MiB)")
    for row in rows:
        table.add_row(
            escape(str(row["name"])),
            str(row["tries"]),
            str(row["failed"]),
            f"{row['cpu_seconds']:.1f}",
            f"{row['seconds']:.1f}",
            f"{row['peak_memory'] / _MIB:.0f}",
        )
    out.print(table)
    total = sum(row["cpu_seconds"] for row in rows) / 3600
    out.print(f"{model}: {total:.3g} CPU hours since {since}", highlight=False)
    if spec.runtime.weekly_budget is not None:
        budget = f"{spec.runtime.weekly_budget.cpu_hours:g} CPU hours"
        out.print(f"trainings may use {budget} in seven days", highlight=False)
    if serving is not None:
        out.print(
            f"serving: {serving['cpu_seconds']:.1f} CPU seconds of its replicas so far, "
            f"{serving['share']:.0%} of them all, for {serving['rows']} rows",
            highlight=False,
        )


def _row(name: str, group: Sequence["StepCost"]) -> dict[str, Any]:
    return {
        "name": name,
        "tries": len(group),
        "failed": sum(one.outcome != "done" for one in group),
        "cpu_seconds": _total(one.cpu_seconds for one in group),
        "seconds": _total(one.seconds for one in group),
        "peak_memory": max(one.peak_memory for one in group),
    }


def _total(values: Iterable[float]) -> float:
    return round(sum(values), 3)


def _serving(settings: Settings, model: str) -> dict[str, Any] | None:
    """What its replicas tell; None where no server answers or the model was never asked."""
    from ferryman.deployment.autoscaling.figures import fetch_metrics
    from ferryman.steps.model_servers import endpoint_for
    from ferryman.steps.serving_costs import serving_costs

    spec = find_model(settings.zoo, model).spec
    try:
        found = serving_costs(fetch_metrics(endpoint_for(settings, spec).url)).get(model)
    except DependencyUnavailable:
        return None
    return None if found is None else asdict(found)
