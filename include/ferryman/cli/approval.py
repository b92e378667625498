"""`ferryman approve` and `ferryman reject`: the answer of a person to a staged candidate."""

from typing import Annotated

import typer

from ferryman.catalog import find_model
from ferryman.cli.options import ModelOption, out
from ferryman.errors import SpecError
from ferryman.settings import load_settings

VersionOption = Annotated[int, typer.Option("--version", "-v", min=1, help="Registered version.")]
ReasonOption = Annotated[str, typer.Option("--reason", "-r", help="Why; it is kept for ever.")]


def approve(model: ModelOption, version: VersionOption, reason: ReasonOption) -> None:
    """Let a staged candidate go on; you must be a declared approver, and not its requester."""
    _answer(model, version, reason, approved=True)


def reject(model: ModelOption, version: VersionOption, reason: ReasonOption) -> None:
    """Stop a staged candidate; anybody may say no."""
    _answer(model, version, reason, approved=False)


def _answer(name: str, version: int, reason: str, *, approved: bool) -> None:
    from ferryman.ledger.ledger import Ledger
    from ferryman.steps.approve import open_question, record_answer

    settings = load_settings()
    model = find_model(settings.zoo, name)
    op = open_question(Ledger(settings.ledger_url), name, version)
    if op is None:
        raise SpecError(
            f"no release of {name} version {version} waits for an answer",
            remedy=f"ferryman ledger show --model {name} says what became of it.",
        )
    digest = op.candidate.digest
    said = record_answer(
        settings,
        model,
        op.op_id,
        op.base_epoch,
        digest,
        approved=approved,
        approver=settings.actor,
        requester=str(op.evidence.get("requester", op.actor)),
        reason=reason,
    )
    word = "approved" if approved else "rejected"
    out.print(f"{name} version {version} ({digest[:12]}): {word} by {said.actor}", highlight=False)
