"""How an exposure ends badly: the share goes back, the ledger says why, people are told.

Each line may be repeated: a rerun finds the verdict in the ledger and does what is left.
"""

from typing import Any, Literal

from pydantic import JsonValue

from ferryman.errors import FerrymanError, GateRefused
from ferryman.ledger.records import ALERT, DRILL, Op, State
from ferryman.rollout.evidence import Evidence
from ferryman.runtime.alerts import alert
from ferryman.steps.rollout_share import Exposure, end_share

Verdict = Literal["failed", "undecided"]

REMEDY = "Train another candidate; against another champion this one would be judged anew."

DRILLED = "None: a fire drill sent a bad model on purpose; see what the drill's run says."


def abort(
    exposure: Exposure, outcome: Verdict, text: str, told: dict[str, JsonValue] | None = None
) -> str:
    """End an exposure for good at this epoch: share to 0, alert, ABORTED. Returns the words."""
    words = f"{exposure.title}: {outcome}: {text}"
    ending: dict[str, JsonValue] = {**(told or {}), "outcome": outcome, "text": words}
    end_share(exposure, words[:500], ending)
    return finish(exposure, ending)


def finish(exposure: Exposure, ending: dict[str, Any]) -> str:
    """Do what is left of an ending that the ledger holds; returns its words."""
    ledger, op = exposure.ledger, exposure.op
    words = str(ending["text"])
    end_share(exposure, words[:500], ending)
    tell_once(exposure, f"{op.model}: {_what(op)} aborted", words, _facts(exposure, ending))
    ledger.advance(
        op.op_id,
        State.ABORTED,
        {**exposure.facts, **ending},
        base_epoch=op.base_epoch,
    )
    return words


def interrupt(exposure: Exposure, error: FerrymanError) -> None:
    """End the share because of something that is no verdict on the candidate; it may come back."""
    end_share(exposure, f"interrupted: {error.text}"[:500])
    facts: dict[str, JsonValue] = {**_facts(exposure, {}), "remedy": error.remedy}
    tell_once(exposure, f"{exposure.op.model}: exposure interrupted", error.text, facts)


def tell_once(exposure: Exposure, title: str, text: str, facts: dict[str, JsonValue]) -> None:
    """Alert people, and note it; what the ledger says was told is not told again."""
    ledger, op = exposure.ledger, exposure.op
    for note in ledger.notes(op.model, ALERT):
        told = note.evidence
        known = (told.get("op"), told.get("base_epoch"), told.get("stage"), note.reason)
        if known == (op.op_id, op.base_epoch, exposure.stage, text[:500]):
            return
    notify = exposure.model.spec.notify
    sent = alert(exposure.settings, title, text, facts, exposure.connections, notify=notify)
    ledger.note(
        ALERT,
        op.model,
        actor=exposure.settings.actor,
        reason=text[:500],
        evidence={**exposure.facts, "title": title, "sent": sent},
    )


def refusal(outcome: str, text: str) -> GateRefused:
    """The error that a step raises for an exposure that ended badly."""
    more = " Give it more traffic, labels or patience." if outcome == "undecided" else ""
    return GateRefused(text, remedy=REMEDY + more)


def deciding_rules(evidence: Evidence) -> str:
    """The rules that decided, by name."""
    rules = {one.rule: None for one in evidence.findings if one.outcome == evidence.outcome}
    return ", ".join(rules)


def _what(op: Op) -> str:
    return "fire drill" if op.kind == DRILL else "release"


def _facts(exposure: Exposure, ending: dict[str, Any]) -> dict[str, JsonValue]:
    op = exposure.op
    return {
        **exposure.facts,
        "model": op.model,
        "kind": op.kind,
        "version": op.candidate.version,
        "digest": op.candidate.digest,
        "variant": exposure.variant,
        "weight": exposure.plan.weight,
        "rule": ending.get("rule", ""),
        "outcome": ending.get("outcome", ""),
        "findings": ending.get("findings", []),
        "changed": f"the champion of epoch {op.base_epoch} answers all requests again",
        "remedy": DRILLED if op.kind == DRILL else REMEDY,
        "link": exposure.origin,
    }
