"""`ferryman served`: who answered a model's requests at a moment, and why."""

import json
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ferryman.catalog import find_model
from ferryman.cli.options import ModelOption, out
from ferryman.errors import SpecError
from ferryman.settings import load_settings
from ferryman.spec.windows import format_time

if TYPE_CHECKING:
    from ferryman.ledger.served import Served

_AtOption = Annotated[
    str | None,
    typer.Option("--at", help="2013-02-01T08:00:00Z, or a day (its midnight UTC); default now."),
]


def served(
    model: ModelOption,
    at: _AtOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """Who answered a model's requests at a moment: version, why, by whom, on which data."""
    from ferryman.ledger.ledger import Ledger
    from ferryman.ledger.served import served_at

    settings = load_settings()
    moment = parse_moment(at) if at else None
    ledger = Ledger(settings.ledger_url)
    found = served_at(ledger, model, moment)
    if found.head is None and not ledger.ops(model):
        find_model(settings.zoo, model)  # a misspelt name is told, not shown as nothing
    if as_json:
        sys.stdout.write(json.dumps(found.as_json) + "\n")
        return
    for line in _lines(found):
        out.print(line, highlight=False, markup=False)


def parse_moment(text: str) -> datetime:
    """A moment in UTC; SpecError (exit 2) unless it is a day, or a time with its zone."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise SpecError(
            f"{text[:40]!r} is no moment", remedy="Write it as 2013-02-01T08:00:00Z, or a day."
        ) from None
    is_day = len(text) == len("2013-02-01")
    if moment.tzinfo is None and not is_day:
        raise SpecError(f"{text} has no time zone", remedy=f"Write {text}Z for UTC.")
    moment = moment.replace(tzinfo=UTC) if is_day else moment.astimezone(UTC)
    if moment > datetime.now(UTC):
        raise SpecError(f"{text} has not come yet", remedy="Leave --at away for now.")
    return moment


def _lines(found: "Served") -> list[str]:
    told: dict[str, Any] = found.as_json
    moment = format_time(found.at)
    if found.head is None:
        return [f"{found.model} at {moment}: nothing was released by then"]
    head, data = told["head"], told["data"]
    lines = [
        f"{found.model} at {moment}: version {head['version']} (epoch {head['epoch']})",
        f"  digest     {head['digest']}",
        f"  since      {head['since']} by {told['kind']}, row {told['row']} of the ledger",
        f"  asked by   {told['actor']}: {told['reason']}",
        f"  evidence   {told['evidence'] or 'none is recorded'}",
    ]
    approval = told["approved_by"]
    if approval:
        lines.append(
            f"  approved   by {approval['actor']} at {approval['at']}: {approval['reason']}"
        )
    lines += [
        f"  data       trained on {data['train_dataset'] or 'an unnamed dataset'}, judged on "
        f"{data['eval_dataset']}, cut-off {data['cutoff']}",
        f"  code       {data['code_version'] or 'not recorded'}",
    ]
    if head["frozen"]:
        lines.append("  frozen     no promotion or adoption may follow")
    candidate = told["candidate"]
    if candidate:
        lines.append(
            f"  candidate  version {candidate['version']} as {candidate['variant']} with weight "
            f"{candidate['weight']:g}, since {candidate['since']}; its lease ran until "
            f"{candidate['lease_until']} unless it was renewed"
        )
    return lines
