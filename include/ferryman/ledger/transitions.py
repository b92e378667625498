"""Which state may follow which, by kind of operation."""

from collections.abc import Mapping
from typing import Any

from ferryman.errors import Overtaken, PolicyRefused
from ferryman.ledger.records import (
    ADOPT,
    DRILL,
    JUDGED_AGAIN,
    NEXT,
    PROMOTE,
    ROLLBACK,
    VERDICTS,
    Op,
    State,
)

_Table = Mapping[State, frozenset[State]]

_BY_HAND: _Table = {
    State.REQUESTED: frozenset({State.STAGED, State.FAILED}),
    State.STAGED: frozenset({State.FAILED}),
    State.APPROVED: frozenset({State.FAILED}),
    State.COMMITTED: NEXT[State.COMMITTED],
    State.PROJECTED: NEXT[State.PROJECTED],
}
_DRILL: _Table = {
    State.REQUESTED: frozenset({State.STAGED, State.EXPOSED, State.ABORTED, State.FAILED}),
    State.STAGED: frozenset({State.EXPOSED, State.ABORTED, State.FAILED}),
    State.EXPOSED: frozenset({State.ABORTED}),
}
_NEXT_OF: dict[str, _Table] = {
    PROMOTE: NEXT,
    ROLLBACK: _BY_HAND,
    ADOPT: _BY_HAND,
    DRILL: _DRILL,
}
FIRST = {
    PROMOTE: State.TRAINED,
    ROLLBACK: State.REQUESTED,
    ADOPT: State.REQUESTED,
    DRILL: State.REQUESTED,
}
# From these an operation may be committed, with all that its gate required.
READY = frozenset({State.STAGED, State.APPROVED, State.PROVEN})
# A candidate in one of these may have a share of the traffic.
EXPOSED = frozenset({State.EXPOSED, State.PROVEN})
# An operation in one of these has no share of the traffic, whatever was noted before.
ENDED = frozenset({State.REJECTED, State.SUPERSEDED, State.ABORTED, State.FAILED})
# What was decided against a candidate at an epoch holds at that epoch.
_FINAL_AT_EPOCH = frozenset({State.REJECTED, State.ABORTED})

# Where it stands what an operation must have been through: an adoption has no gate.
ASKING: Mapping[str, State] = {PROMOTE: State.GATED, ADOPT: State.STAGED}
NOT_ASKED: Mapping[str, frozenset[State]] = {
    PROMOTE: frozenset(),
    ADOPT: frozenset({State.GATED}),
}


def following(op: Op) -> frozenset[State]:
    """The states that `advance` may write after that of an operation."""
    return _NEXT_OF[op.kind].get(op.state, frozenset())


def check_step(op: Op, state: State, base_epoch: int) -> None:
    """Raise Overtaken (exit 8) or PolicyRefused (exit 9) where a state may not follow."""
    verdict = op.kind == PROMOTE and state in VERDICTS
    if verdict and base_epoch > op.base_epoch and op.state in JUDGED_AGAIN:
        return
    if base_epoch != op.base_epoch and not verdict:
        raise Overtaken(
            f"operation {op.op_id[:12]} was judged against epoch {op.base_epoch}, not {base_epoch}"
        )
    if state not in following(op):
        raise PolicyRefused(
            f"operation {op.op_id[:12]} is {op.state}: {state} cannot follow",
            remedy="Run the steps in order; `ferryman ledger show` tells how far it has come.",
        )


def check_not_final(op: Op, state: State, base_epoch: int) -> None:
    """Raise PolicyRefused (exit 9) for a step of a candidate that was turned down at this epoch."""
    if op.state in _FINAL_AT_EPOCH and base_epoch == op.base_epoch and state is not op.state:
        raise PolicyRefused(
            f"operation {op.op_id[:12]} (version {op.candidate.version}) is {op.state} at epoch "
            f"{base_epoch}: {state} cannot follow",
            remedy="Train a new candidate; this one is judged anew when the champion changes.",
        )


def check_way(op: Op, gated: Op | None) -> None:
    """Raise PolicyRefused (exit 9) for a candidate that meets users before it was approved."""
    if op.kind == PROMOTE and op.state is State.STAGED and State.APPROVED in required(gated):
        raise PolicyRefused(
            f"operation {op.op_id[:12]} is not approved yet: it meets no users",
            remedy="Somebody of rollout.approval.approvers answers the release's question.",
        )


def required(gated: Op | None) -> frozenset[State]:
    """The states that a promotion must have been through, as its gate wrote them."""
    asked: Any = gated.evidence.get("requires") if gated is not None else None
    asked = asked if isinstance(asked, dict) else {}
    found = {State.GATED, State.STAGED}
    if asked.get("approval"):
        found.add(State.APPROVED)
    if asked.get("exposure"):
        found |= {State.EXPOSED, State.PROVEN}
    return frozenset(found)
