"""A candidate's share of the traffic, noted before a server is told of it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import get_args

from pydantic import JsonValue
from sqlalchemy import Connection

from ferryman.errors import LostRace, PolicyRefused, SpecError
from ferryman.ledger import leases
from ferryman.ledger.appending import append_note
from ferryman.ledger.queries import (
    first_row,
    notes_of,
    quarantine_reason,
    read_head,
    require_op,
)
from ferryman.ledger.records import TRAFFIC, Note, Op
from ferryman.ledger.replay import Share, replay_of, share_of
from ferryman.ledger.transitions import EXPOSED
from ferryman.ledger.words import Act
from ferryman.runtime.traffic import Variant


@dataclass(frozen=True)
class ShareRequest:
    """A share as its controller asks for it; weight 0 takes it back."""

    serial: int
    stage: int
    variant: str
    weight: float
    reason: str
    evidence: Mapping[str, JsonValue]
    lease_seconds: float


def set_traffic(connection: Connection, op_id: str, asked: ShareRequest) -> Note:
    """Note a share; the note that stands where the same was noted before."""
    op = require_op(connection, op_id)
    _check_values(asked)
    if asked.weight > 0:
        _check_holder(connection, op, asked.serial)
        _check_candidate(connection, op)
    else:
        _check_taker(connection, op, asked.serial)
    before = replay_of(connection, op.model).share
    standing = (before.note if before else None) if asked.weight else _newest(connection, op)
    if standing is not None and _says(share_of(standing), op, asked):
        return standing
    begun = first_row(connection, op_id) or op
    act = Act.of_program(begun.actor, asked.reason)
    return append_note(connection, TRAFFIC, op.model, act, _evidence(op, asked, before))


def _evidence(op: Op, asked: ShareRequest, before: Share | None) -> dict[str, JsonValue]:
    return {
        **asked.evidence,
        "op": op.op_id,
        "variant": asked.variant,
        "version": op.candidate.version,
        "digest": op.candidate.digest,
        "stage": asked.stage,
        "weight": float(asked.weight),
        "serial": asked.serial,
        "base_epoch": op.base_epoch,
        "lease_seconds": float(asked.lease_seconds),
        "before": {"op": before.op_id, "weight": before.weight} if before else {"weight": 0.0},
        "after": {"op": op.op_id, "weight": float(asked.weight)},
    }


def _check_values(asked: ShareRequest) -> None:
    numbers = (asked.weight, asked.lease_seconds)
    if not all(math.isfinite(number) for number in numbers):
        raise SpecError(f"weight and lease are numbers, not {numbers}")
    if not 0 <= asked.weight <= 1:
        raise SpecError(f"weight {asked.weight} is no share: give 0 to 1")
    if asked.variant not in get_args(Variant):
        raise SpecError(f"variant {asked.variant!r} is none of {', '.join(get_args(Variant))}")
    if asked.stage < 0 or asked.lease_seconds < 0:
        raise SpecError(f"stage {asked.stage}, lease {asked.lease_seconds} s: neither is below 0")


def _check_holder(connection: Connection, op: Op, serial: int) -> None:
    lease = leases.live(connection, op.model)
    if lease is None or (lease.serial, lease.op_id) != (serial, op.op_id):
        raise LostRace(
            f"the lease {serial} of {op.model} is not held for operation {op.op_id[:12]}",
            remedy="Give nothing more to the candidate; what was given ends by itself.",
        )


def _check_taker(connection: Connection, op: Op, serial: int) -> None:
    """Whoever held the lease last may take back, until somebody else holds one."""
    lease = leases.newest(connection, op.model)
    if lease is None or serial > lease.serial:
        raise LostRace(f"{op.model} never had a lease {serial}")
    if serial != lease.serial and leases.live(connection, op.model) is not None:
        raise LostRace(f"lease {lease.serial} of {op.model} is held by {lease.holder}")


def _check_candidate(connection: Connection, op: Op) -> None:
    """Only a candidate that was exposed, at the epoch that is served, meets users."""
    if op.state not in EXPOSED:
        raise PolicyRefused(
            f"operation {op.op_id[:12]} is {op.state}: only an exposed one has a share",
            remedy="Run the steps in order; `ferryman ledger show` tells how far it has come.",
        )
    why = quarantine_reason(connection, op.model, op.candidate.digest)
    if why is not None:
        raise PolicyRefused(f"{op.model} version {op.candidate.version} is quarantined: {why}")
    head = read_head(connection, op.model)
    if head is None or head.epoch != op.base_epoch:
        raise LostRace(
            f"{op.model} is at epoch {head.epoch if head else 0}; operation {op.op_id[:12]} was "
            f"judged against epoch {op.base_epoch}"
        )
    if head.frozen:
        raise PolicyRefused(f"{op.model} is frozen at epoch {head.epoch}: no candidate meets users")


def _newest(connection: Connection, op: Op) -> Note | None:
    """The newest note of this operation's traffic."""
    notes = notes_of(connection, op.model, TRAFFIC)
    return next((note for note in reversed(notes) if note.evidence["op"] == op.op_id), None)


def _says(share: Share, op: Op, asked: ShareRequest) -> bool:
    """Whether a note says what is asked for; which lease took a share back does not matter."""
    if share.op_id != op.op_id or int(share.note.evidence["base_epoch"]) != op.base_epoch:
        return False
    if asked.weight == 0:
        return share.weight == 0
    return (share.serial, share.stage, share.variant, share.weight) == (
        asked.serial,
        asked.stage,
        asked.variant,
        asked.weight,
    )
