"""A rollback that evidence asks for: made as a person's is, and people are told of it once.

Each line may be repeated: a rerun finds the decision in the ledger and does what is left.
"""

from typing import Any

from pydantic import JsonValue

from ferryman.errors import FerrymanError, LostRace, PolicyRefused
from ferryman.ledger.ledger import Ledger
from ferryman.ledger.records import ALERT, ROLLBACK, Op, State
from ferryman.rollout.evidence import Finding
from ferryman.runtime.alerts import alert
from ferryman.runtime.connections import Connections
from ferryman.settings import Settings
from ferryman.spec.model import DeclaredModel
from ferryman.steps.roll_back import Asked, RolledBack, one_line, roll_back

AUTOMATIC = "ferryman"  # the actor of a rollback that evidence asked for


def automatic(
    settings: Settings,
    model: DeclaredModel,
    *,
    op: Op,
    finding: Finding,
    connections: Connections | None = None,
) -> RolledBack:
    """Roll back what an operation released, because evidence turned against it; and tell of it.

    Raises Overtaken (exit 8) where that release is not what is served any more, and what
    `roll_back` raises; a rollback that cannot be made is told, too.
    """
    ledger = Ledger(settings.ledger_url)
    made = ledger.committed_head(op.op_id)
    if made is None:
        raise PolicyRefused(f"{model.name}: operation {op.op_id[:12]} never released anything")
    reason = one_line(f"evidence of {finding.rule}: {finding.text}")
    asked = Asked(AUTOMATIC, reason, epoch=made.epoch, evidence={"finding": finding.as_json()})
    try:
        done = roll_back(settings, model.name, asked, connections)
    except LostRace:
        raise
    except FerrymanError as error:
        alert(
            settings,
            f"{model.name}: cannot be rolled back",
            f"{reason}. {error}",
            {"rule": finding.rule, "epoch": made.epoch, "left": made.version},
            connections,
            notify=model.spec.notify,
        )
        raise
    _tell_once(settings, model, ledger, done, connections)
    return done


def finish_automatic(
    settings: Settings, model: DeclaredModel, connections: Connections | None = None
) -> RolledBack | None:
    """Do what a killed `automatic` left; None where evidence did not make the champion, or all is
    done and told. Raises what `roll_back` raises.
    """
    ledger = Ledger(settings.ledger_url)
    made = _asked_by_evidence(ledger, model.name)
    if made is None:
        return None
    newest = ledger.op(made.op_id)
    if newest is not None and newest.state is State.DONE and _was_told(ledger, made):
        return None
    asked = Asked(AUTOMATIC, made.reason, epoch=made.base_epoch)
    done = roll_back(settings, model.name, asked, connections)
    _tell_once(settings, model, ledger, done, connections)
    return done


def _asked_by_evidence(ledger: Ledger, model: str) -> Op | None:
    """The commit that made the champion, where that was a rollback that no person asked for."""
    made = ledger.made_by(model)
    if made is None or made.kind != ROLLBACK or not _finding_of(ledger, made):
        return None
    return made


def _finding_of(ledger: Ledger, made: Op) -> dict[str, JsonValue]:
    rows = [row for row in ledger.history(made.model) if row.op_id == made.op_id]
    staged: Any = next(row.evidence for row in rows if row.state is State.STAGED)
    return dict(staged.get("finding", {}))


def _tell_once(
    settings: Settings,
    model: DeclaredModel,
    ledger: Ledger,
    done: RolledBack,
    connections: Connections | None,
) -> None:
    """Tell people, and note it; a kill in between may have them told twice."""
    made = _asked_by_evidence(ledger, done.head.model)
    if made is None or _was_told(ledger, made):
        return
    before: Any = made.evidence["before"]
    facts: dict[str, JsonValue] = {
        "rule": _finding_of(ledger, made)["rule"],
        "epoch": made.base_epoch,
        "left": before["version"],
        "served": done.head.version,
    }
    title = f"{made.model}: rolled back"
    text = f"{done.text}, because {made.reason}" + (f"; {done.later}" if done.later else "")
    sent = alert(settings, title, text, facts, connections, notify=model.spec.notify)
    ledger.note(
        ALERT,
        made.model,
        actor=settings.actor,
        reason=one_line(text),
        evidence={**facts, "op": made.op_id, "title": title, "sent": sent},
    )


def _was_told(ledger: Ledger, made: Op) -> bool:
    return any(note.evidence.get("op") == made.op_id for note in ledger.notes(made.model, ALERT))
