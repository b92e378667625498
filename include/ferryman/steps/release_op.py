"""The operation that a release run works on: what the ledger says of it, not what a file claims."""

from ferryman.errors import GateRefused, PolicyRefused, SpecError, Superseded
from ferryman.ledger.ledger import Ledger
from ferryman.ledger.records import Op, State
from ferryman.steps.contract import StepContext


def gated_op(context: StepContext, ledger: Ledger) -> tuple[Op, int]:
    """The operation that this run's gate let pass, and the epoch that the gate saw.

    Raises Superseded (exit 5) when a newer release was committed meanwhile, GateRefused (exit 4)
    when it was refused or aborted since, PolicyRefused (exit 9) when the ledger holds no passed
    gate for it.
    """
    gate = context.earlier("gate").outputs
    try:
        op_id, base = str(gate["op_id"]), int(str(gate["base_epoch"]))
    except (KeyError, ValueError) as error:
        raise SpecError(
            "the result of 'gate' names no operation", remedy="Run it again."
        ) from error
    op = ledger.op(op_id)
    if op is None or op.model != context.spec.name:
        raise PolicyRefused(f"the ledger has no operation {op_id[:12]} of {context.spec.name}")
    if op.state is State.SUPERSEDED:
        raise Superseded(f"{op.model} version {op.candidate.version}: {op.evidence.get('by')}")
    refuse_ended(ledger, op, op.base_epoch)
    if op.state in (State.TRAINED, State.REGISTERED, State.FAILED):
        raise PolicyRefused(
            f"{op.model} version {op.candidate.version} is {op.state}: no gate let it pass"
        )
    return op, base


def refuse_ended(ledger: Ledger, op: Op, base: int) -> None:
    """Raise GateRefused (exit 4) for an operation that is over at this epoch, and say by whom."""
    if op.base_epoch != base:
        return
    name = f"{op.model} version {op.candidate.version}"
    if op.state is State.ABORTED:
        raise GateRefused(
            f"{name} was exposed beside epoch {base} and withdrawn: {_words(op)}",
            remedy="Train another candidate; against another champion this one is judged anew.",
        )
    if op.state is not State.REJECTED:
        return
    if was_in(ledger, op, State.GATED):
        raise GateRefused(
            f"{name} was rejected by {op.actor}: {_words(op)}",
            remedy="Train another candidate; against another champion this one is judged anew.",
        )
    raise GateRefused(_words(op))


def was_in(ledger: Ledger, op: Op, state: State) -> Op | None:
    """The row with which an operation reached a state at its present epoch; None if never."""
    wanted = (op.op_id, op.base_epoch, state)
    rows: list[Op] = ledger.history(op.model)
    return next(
        (row for row in reversed(rows) if (row.op_id, row.base_epoch, row.state) == wanted), None
    )


def _words(op: Op) -> str:
    return str(op.evidence.get("text") or op.evidence.get("reason") or op.reason)
