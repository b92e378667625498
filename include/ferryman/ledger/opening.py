"""How an operation begins: a promotion by its candidate, the others by what they leave."""

from dataclasses import replace
from itertools import count

from pydantic import JsonValue
from sqlalchemy import Connection

from ferryman.errors import LostRace, PolicyRefused, SpecError
from ferryman.ledger.appending import Entry, append_row, append_state
from ferryman.ledger.queries import newest_row, quarantine_reason, read_head
from ferryman.ledger.records import (
    ADOPT,
    DRILL,
    PROMOTE,
    ROLLBACK,
    Candidate,
    Head,
    Op,
    State,
    operation_id,
    request_id,
)
from ferryman.ledger.replay import replay_of
from ferryman.ledger.rows import op_of_mapping
from ferryman.ledger.transitions import FIRST
from ferryman.ledger.words import Act


def open_promotion(
    connection: Connection, kind: str, model: str, candidate: Candidate, act: Act
) -> Op:
    """Begin a promotion, or find the one that this same candidate began before."""
    if kind != PROMOTE:
        raise SpecError(
            f"an operation of kind {kind!r} is not begun so",
            remedy="Use open_rollback, open_adoption or open_drill.",
        )
    _check_registered(model, candidate)
    entry = _begin(PROMOTE, model, candidate, act)
    return newest_row(connection, entry.op_id) or op_of_mapping(append_row(connection, entry))


def open_rollback(
    connection: Connection,
    model: str,
    target: Candidate,
    act: Act,
    base_epoch: int | None,
) -> Op:
    """Begin to leave the head for a version that served before; a repeat finds the same one."""
    head = read_head(connection, model)
    if head is None:
        raise SpecError(f"{model} has no release yet", remedy="There is nothing to leave.")
    _check_epoch(model, head, base_epoch)
    replay = replay_of(connection, model)
    if target.digest == head.digest:
        made = next(op for op in replay.commits.values() if _made(op, head))
        if made.kind == ROLLBACK:
            return replay.newest[made.op_id]
        raise PolicyRefused(f"{model} version {head.version} is what is served already")
    good = {candidate.digest: candidate for candidate in replay.good}
    known = good.get(target.digest)
    if known is None:
        listed = ", ".join(f"{candidate.version}" for candidate in good.values()) or "none"
        raise PolicyRefused(
            f"{model} version {target.version} never served, or is quarantined",
            remedy=f"Versions that served and may serve again: {listed}.",
        )
    # The order key stays that of the head: what is left was newer, and still is.
    entry = replace(
        _begin(ROLLBACK, model, known, act), base_epoch=head.epoch, order_key=head.order_key
    )
    return _open(connection, entry, known, ROLLBACK, model, head.digest, head.epoch)


def open_adoption(
    connection: Connection,
    model: str,
    candidate: Candidate,
    act: Act,
    base_epoch: int | None,
) -> Op:
    """Begin to follow an alias that was moved by hand; a repeat finds the same one."""
    head = read_head(connection, model)
    _check_epoch(model, head, base_epoch)
    _check_registered(model, candidate)
    if head is not None and head.digest == candidate.digest:
        raise PolicyRefused(f"{model} version {head.version} is what is served already")
    barred = quarantine_reason(connection, model, candidate.digest)
    if barred is not None:
        raise PolicyRefused(f"{model} version {candidate.version} is quarantined: {barred}")
    epoch, left = (head.epoch, head.digest) if head else (0, "")
    order_key = max(head.order_key, candidate.order_key) if head else candidate.order_key
    entry = replace(_begin(ADOPT, model, candidate, act), base_epoch=epoch, order_key=order_key)
    return _open(connection, entry, candidate, ADOPT, model, left, epoch)


def open_drill(connection: Connection, model: str, candidate: Candidate, act: Act) -> Op:
    """Begin a drill beside the head of now; a repeat with the same candidate finds the same one."""
    head = read_head(connection, model)
    if head is None:
        raise SpecError(f"{model} has no release yet", remedy="A drill needs a champion.")
    op_id = operation_id(DRILL, model, candidate.digest, candidate.order_key)
    entry = replace(_begin(DRILL, model, candidate, act), base_epoch=head.epoch)
    return newest_row(connection, op_id) or op_of_mapping(append_row(connection, entry))


def _open(connection: Connection, entry: Entry, wanted: Candidate, *parts: JsonValue) -> Op:
    """The operation of these parts; the next attempt where it failed, or aimed at another version.

    Of two requests at one epoch the newer one counts: an emergency must not wait for a process
    that died with another version in mind.
    """
    act = Act(entry.actor, entry.reason)
    ids = (request_id(*parts, attempt) for attempt in count(1))
    op_id = next(ids)
    while (found := newest_row(connection, op_id)) is not None:
        if found.state is not State.FAILED:
            if found.candidate.digest == wanted.digest:
                return found
            if found.state is not State.REJECTED:
                append_state(connection, found, State.FAILED, {"for": wanted.version}, act)
        op_id = next(ids)
    return op_of_mapping(append_row(connection, replace(entry, op_id=op_id)))


def _begin(kind: str, model: str, candidate: Candidate, act: Act) -> Entry:
    """The first row of an operation of a candidate, as it is where no head stands before it."""
    return Entry(
        op_id=operation_id(kind, model, candidate.digest, candidate.order_key),
        kind=kind,
        model=model,
        state=FIRST[kind],
        base_epoch=0,
        candidate=candidate,
        order_key=candidate.order_key,
        actor=act.actor,
        reason=act.reason,
        evidence={},
    )


def _check_registered(model: str, candidate: Candidate) -> None:
    if candidate.version < 1:
        raise SpecError(f"{model}: version 0 is a drill's, and never released")


def _check_epoch(model: str, head: Head | None, expected: int | None) -> None:
    epoch = head.epoch if head else 0
    if expected is not None and expected != epoch:
        raise LostRace(f"{model} is at epoch {epoch} by now, not at {expected}")


def _made(op: Op, head: Head) -> bool:
    return bool(op.evidence["after"]["epoch"] == head.epoch)
