"""Acts that are no release: a freeze, a quarantine, a legal hold, and what programs note."""

from collections.abc import Mapping

from pydantic import JsonValue
from sqlalchemy import Connection, insert, update

from ferryman.errors import SpecError
from ferryman.ledger import tables
from ferryman.ledger.appending import append_note
from ferryman.ledger.queries import notes_of, quarantine_reason, read_head
from ferryman.ledger.records import (
    ALERT,
    FREEZE,
    GUARD,
    HOLD,
    QUARANTINE,
    STAGE,
    UNFREEZE,
    UNHOLD,
    Note,
)
from ferryman.ledger.replay import replay_of
from ferryman.ledger.words import Act

_FREE = (STAGE, GUARD, ALERT)  # the others have effects, and methods of their own


def write_note(  # noqa: PLR0913 - a row's columns
    connection: Connection,
    kind: str,
    model: str,
    act: Act,
    evidence: Mapping[str, JsonValue],
    *,
    once_by: str = "",
) -> Note:
    """Write what a program saw or did; SpecError (exit 2) for a kind that has effects.

    With `once_by`, a note of this kind with the same value there in its evidence is the only one.
    """
    if kind not in _FREE:
        raise SpecError(
            f"a note of kind {kind!r} is not written so", remedy=f"One of {', '.join(_FREE)}."
        )
    if once_by:
        for known in notes_of(connection, model, kind):
            if known.evidence.get(once_by) == evidence[once_by]:
                return known
    return append_note(connection, kind, model, act, evidence)


def bar(connection: Connection, model: str, digest: str, act: Act, op_id: str = "") -> None:
    """Forbid a digest for ever; a repeat changes nothing. `op_id`: the rollback that left it."""
    if quarantine_reason(connection, model, digest) is not None:
        return
    evidence: dict[str, JsonValue] = {"digest": digest, "before": False, "after": True}
    if op_id:
        evidence["op"] = op_id
    note = append_note(connection, QUARANTINE, model, act, evidence)
    at = note.at.isoformat(timespec="microseconds")
    connection.execute(
        insert(tables.quarantine).values(model=model, digest=digest, why=act.reason, at=at)
    )


def set_frozen(connection: Connection, model: str, frozen: bool, act: Act) -> None:
    """Freeze a model's head, or thaw it; a repeat changes nothing."""
    head = read_head(connection, model)
    if head is None:
        raise SpecError(f"model {model!r} has no release yet", remedy="Release it first.")
    if head.frozen == frozen:
        return
    kind = FREEZE if frozen else UNFREEZE
    evidence: dict[str, JsonValue] = {
        "before": head.frozen,
        "after": frozen,
        "epoch": head.epoch,
    }
    append_note(connection, kind, model, act, evidence)
    connection.execute(
        update(tables.head).where(tables.head.c.model == model).values(frozen=frozen)
    )


def set_held(connection: Connection, model: str, version: int, held: bool, act: Act) -> None:
    """Put a version under a legal hold, or end that; a repeat changes nothing.

    Raises SpecError (exit 2) for a version that never was in an operation of the ledger.
    """
    replay = replay_of(connection, model)
    candidate = replay.registered.get(version)
    if candidate is None:
        known = ", ".join(str(number) for number in sorted(replay.registered)[-10:])
        raise SpecError(
            f"the ledger knows no version {version} of {model}",
            remedy=f"The newest that it knows: {known or 'none'}.",
        )
    if (version in replay.held) == held:
        return
    kind = HOLD if held else UNHOLD
    evidence: dict[str, JsonValue] = {
        "version": version,
        "digest": candidate.digest,
        "bundle": candidate.bundle,
        "before": not held,
        "after": held,
    }
    append_note(connection, kind, model, act, evidence)
