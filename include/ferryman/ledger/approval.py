"""A person's answer to a candidate: bound to its digest and to the epoch that it was judged at."""

from dataclasses import dataclass

from pydantic import JsonValue
from sqlalchemy import Connection

from ferryman.errors import LostRace, PolicyRefused
from ferryman.ledger.appending import append_state
from ferryman.ledger.queries import first_row, read_head, require_op, row_in
from ferryman.ledger.records import ADOPT, PROMOTE, Op, State
from ferryman.ledger.words import Act, check_actor, check_other_person


@dataclass(frozen=True)
class Answer:
    """What was answered, to what, by whom."""

    base_epoch: int
    digest: str
    approved: bool
    actor: str
    requester: str
    reason: str


def decide(connection: Connection, op_id: str, answer: Answer) -> Op:
    """Write APPROVED or REJECTED; the operation's newest state where this was answered before."""
    op = require_op(connection, op_id)
    act = Act.of_person(answer.actor, answer.reason)
    requester = check_actor(answer.requester)
    if (op.candidate.digest, op.base_epoch) != (answer.digest, answer.base_epoch):
        raise PolicyRefused(
            f"the answer is to digest {answer.digest[:12]} at epoch {answer.base_epoch}; operation "
            f"{op_id[:12]} has {op.candidate.digest[:12]} at epoch {op.base_epoch}",
            remedy="Look at the proposal of the new attempt, and answer that.",
        )
    if answer.approved:
        begun = first_row(connection, op_id) or op
        check_other_person(act.actor, requester, begun.actor)
    earlier = answer_at(connection, op_id, answer.base_epoch)
    if earlier is not None:
        if (earlier.state is State.APPROVED) == answer.approved:
            return op
        raise PolicyRefused(
            f"operation {op_id[:12]} was {earlier.state} by {earlier.actor}: {earlier.reason}",
            remedy="An answer is final at its epoch; train a new candidate.",
        )
    if op.kind not in (PROMOTE, ADOPT) or op.state is not State.STAGED:
        raise PolicyRefused(f"operation {op_id[:12]} is {op.state}: nothing is asked of anybody")
    head = read_head(connection, op.model)
    epoch = head.epoch if head else 0
    if answer.approved and epoch != op.base_epoch:
        raise LostRace(f"{op.model} is at epoch {epoch}; what was shown is epoch {op.base_epoch}")
    state = State.APPROVED if answer.approved else State.REJECTED
    evidence: dict[str, JsonValue] = {
        "approved": answer.approved,
        "requester": requester,
        "version": op.candidate.version,
        "digest": answer.digest,
        "epoch": answer.base_epoch,
    }
    return append_state(connection, op, state, evidence, act)


def answer_at(connection: Connection, op_id: str, base_epoch: int) -> Op | None:
    """The answer that was given to an operation at an epoch; None when there was none."""
    approved = row_in(connection, op_id, State.APPROVED, base_epoch)
    rejected = row_in(connection, op_id, State.REJECTED, base_epoch)
    if approved is None and rejected is not None and "approved" not in rejected.evidence:
        return None  # the gate's own verdict
    return approved or rejected
