"""`ferryman autoscale`: as many replicas as the load asks for."""

from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from ferryman.cli.options import out
from ferryman.deployment.autoscaling.decision import EVERY, Decision
from ferryman.errors import DependencyUnavailable
from ferryman.settings import load_settings
from ferryman.spec.serving import MAIN
from ferryman.spec.windows import format_time


def autoscale(
    server: Annotated[str, typer.Option(help="Name of a declared server.")] = MAIN,
    once: Annotated[bool, typer.Option("--once", help="Take one decision.")] = False,
    log: Annotated[bool, typer.Option("--log", help="Show the decisions taken lately.")] = False,
    last: Annotated[int, typer.Option(min=1, help="How many --log shows.")] = 50,
    seconds: Annotated[float | None, typer.Option(min=0, help="End after so long.")] = None,
    every: Annotated[float, typer.Option(min=0.1, help="Seconds between two decisions.")] = EVERY,
) -> None:
    """Keep the replicas of a server at what its load asks for, until interrupted."""
    from ferryman.deployment.autoscaling.autoscaler import autoscaled, autoscaler_of, files_of

    settings = load_settings()
    if log:
        autoscaled(settings, server)
        _show(files_of(settings, server).decisions(last))
        return
    autoscaler = autoscaler_of(settings, server)
    with files_of(settings, server).turn(server):
        if not once:
            autoscaler.run(seconds, every=every, told=_tell)
            return
        decision = autoscaler.decide()
    _tell(decision)
    if decision.error:
        raise DependencyUnavailable(decision.error)


def _tell(decision: Decision) -> None:
    out.print(_line(decision), highlight=False, markup=False)


def _line(decision: Decision) -> str:
    asked = f"{decision.current} -> {decision.wanted}" if decision.change != "hold" else "hold"
    told = f"{_time(decision)} {decision.server}: {asked} [{decision.rule}]"
    failed = f"; failed: {decision.error}" if decision.error and decision.change != "hold" else ""
    return f"{told} {decision.reason}{failed}"


def _show(decisions: list[Decision]) -> None:
    table = Table("at", "replicas", "rule", "load", "cpu", "p95 ms", "reason")
    for one in decisions:
        figures = one.figures
        shares = [r.cpu for r in figures.replicas.values() if r.cpu is not None] if figures else []
        change = str(one.current) if one.change == "hold" else f"{one.current} -> {one.wanted}"
        table.add_row(
            _time(one),
            change,
            one.rule,
            _number(figures.load if figures else None),
            _number(sum(shares) / len(shares) if shares else None, 2),
            _number(figures.p95_ms if figures else None),
            escape(one.reason + (f"; failed: {one.error}" if one.error else "")),
        )
    out.print(table)


def _number(value: float | None, digits: int = 1) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _time(decision: Decision) -> str:
    return format_time(decision.at.replace(microsecond=0))
