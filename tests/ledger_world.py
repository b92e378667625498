"""Candidates and ways through the ledger, for the tests of its rooms."""

from typing import Any

from ferryman.ledger.ledger import PROMOTE, Ledger
from ferryman.ledger.records import Candidate, Head, Note, Op, State

MODEL = "flights"
REASON = "a reason of a person"


def make_candidate(day: int, version: int, **changes: Any) -> Candidate:
    """A candidate of a day in February 2013."""
    values: dict[str, Any] = {
        "version": version,
        "digest": f"{version:064x}",
        "bundle": f"bundles/{version}",
        "cutoff": f"2013-02-{day:02d}T00:00:00+00:00",
        "sequence": version,
        "run_key": f"key-{version}",
        "eval_dataset": "eval",
    }
    return Candidate(**{**values, **changes})


def staged(ledger: Ledger, candidate: Candidate, base: int, **requires: bool) -> Op:
    """A promotion that is gated (with what its gate requires) and staged at an epoch."""
    op = ledger.open_op(PROMOTE, MODEL, candidate, "ann", "test")
    ledger.advance(op.op_id, State.REGISTERED, {}, base_epoch=0)
    evidence = {"text": "better by far", "requires": dict(requires)}
    ledger.advance(op.op_id, State.GATED, evidence, base_epoch=base)
    return ledger.advance(op.op_id, State.STAGED, {}, base_epoch=base)


def finish(ledger: Ledger, op_id: str) -> None:
    """Project a committed operation to its end."""
    ledger.advance(op_id, State.PROJECTED, {})
    ledger.advance(op_id, State.DONE, {})


def release(ledger: Ledger, version: int) -> Head:
    """Release a version of the day of its number, on top of what is head."""
    head = ledger.head(MODEL)
    base = head.epoch if head else 0
    op = staged(ledger, make_candidate(version, version), base)
    done = ledger.commit(op.op_id, base)
    finish(ledger, op.op_id)
    return done


def decide(ledger: Ledger, op: Op, **changes: Any) -> Op:
    """An approval by bob of what ann asked for, or the changes of it."""
    given: dict[str, Any] = {
        "base_epoch": op.base_epoch,
        "digest": op.candidate.digest,
        "approved": True,
        "actor": "bob",
        "requester": "cleo",
        "reason": REASON,
    }
    return ledger.decide(op.op_id, **{**given, **changes})


def set_weight(ledger: Ledger, op: Op, serial: int, weight: float, **changes: Any) -> Note:
    """Give a candidate a canary's share."""
    given: dict[str, Any] = {
        "stage": 0,
        "variant": "canary",
        "reason": "stage canary_5pct",
        "evidence": {},
        "lease_seconds": 30.0,
    }
    return ledger.set_traffic(op.op_id, serial=serial, weight=weight, **{**given, **changes})


def exposed(ledger: Ledger, version: int, base: int = 1) -> tuple[Op, int]:
    """A candidate that was exposed, and the serial of the lease that was taken for it."""
    op = staged(ledger, make_candidate(version, version), base, exposure=True)
    op = ledger.advance(op.op_id, State.EXPOSED, {"variant": "canary"})
    return op, ledger.take_lease(MODEL, op.op_id, "controller", 60).serial


def roll_back(ledger: Ledger, target: Candidate, **changes: Any) -> tuple[Op, Head]:
    """Roll back to a version, to the end."""
    op = ledger.open_rollback(MODEL, target, actor="ann", reason=REASON, **changes)
    ledger.advance(op.op_id, State.STAGED, {})
    head = ledger.commit(op.op_id, op.base_epoch)
    finish(ledger, op.op_id)
    return op, head
